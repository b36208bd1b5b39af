"""The two configurations: of one HubRouter layer and of a whole sequence model."""

from __future__ import annotations

from dataclasses import dataclass, fields

COUNCILS = ("selected+chunk", "selected", "chunk")
SELECTIONS = ("learned", "random", "recent")
IMPLS = ("reference", "compiled", "triton")  # the implementations of HubRouter, see `hubrouter.implementations`
SCANS = ("loop", "unbind", "chunked", "matmul", "fused")  # the implementations of `hubrouter.selective_scan`


class ConfigError(ValueError):
    """A configuration that cannot be built; the message says which value to change."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class RouterConfig:
    """One HubRouter layer (arXiv:2604.22442; the paper prints no widths, so the defaults are our choice).

    Attributes:
        d_model: width D of the tokens.
        n_heads: heads H; the head width E = D / H must be even (rotary embedding).
        n_hubs: hub tokens M.
        k: tokens K selected for the council.
        chunk: chunk size C of the strictly causal layer; the bidirectional layer does not use it.
        neighbours: how many successors of a selected token share its claim to be selected ("top-k and their
            neighbours", secondary note on the paper); they count towards k.
        causal: strictly causal, or bidirectional as published.
        rope_base: base of the rotary position embedding of the council.
        council: what a query's council reads. "selected" tokens only is what the abstract says; "selected+chunk" adds
            the tokens of the own chunk up to the query, which cannot have been selected yet (our reading of the
            strictly causal layer); "chunk" is the ablation without selection: block-local attention. The bidirectional
            layer has no chunks and always reads the selected tokens.
        selection: which tokens are selected: those with the "learned" scores (the abstract's), or, as ablations, k of
            all earlier tokens at "random" (drawn by position, with a seed that each layer draws when it is built), or
            the k most "recent" ones before the chunk.
        readout: whether each token also gets its fingerprint's average of the hubs (our reading: what tokens that are
            never selected contribute); False is the ablation.
        adaptive_hubs: whether hubs have gates that training can close, so that M is chosen by data; see
            `hubrouter.adaptive`.
        impl: what computes the layer, one of `IMPLS`. It changes speed and rounding, not what is computed, and is
            never replaced by another one silently.
    """

    d_model: int
    n_heads: int = 4
    n_hubs: int = 8
    k: int = 16
    chunk: int = 16
    neighbours: int = 1
    causal: bool = True
    rope_base: float = 10_000.0
    council: str = "selected+chunk"
    selection: str = "learned"
    readout: bool = True
    adaptive_hubs: bool = False
    impl: str = "reference"

    def __post_init__(self) -> None:
        for name, known in (("impl", IMPLS), ("council", COUNCILS), ("selection", SELECTIONS)):
            value = getattr(self, name)
            _require(value in known, f"{name} must be one of {', '.join(known)}, not {value!r}")
        _require(
            self.causal or self.council != "chunk",
            "a bidirectional layer has no chunks to read: council='chunk' needs causal=True",
        )
        for name in ("d_model", "n_heads", "n_hubs", "k", "chunk"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        _require(self.neighbours >= 0, f"neighbours must not be negative, but is {self.neighbours}")
        _require(
            self.d_model % (2 * self.n_heads) == 0,
            f"d_model={self.d_model} must be a multiple of 2 * n_heads={2 * self.n_heads}: choose an even head width",
        )

    @property
    def head_width(self) -> int:
        """E = D / H."""
        return self.d_model // self.n_heads

    @property
    def slots(self) -> int:
        """Tokens that are selected at a time: K, or 0 for a council of the own chunk alone."""
        return 0 if self.council == "chunk" else self.k

    @property
    def reads_chunk(self) -> bool:
        """Whether a query's council reads its own chunk."""
        return self.causal and self.council != "selected"


@dataclass(frozen=True)
class ModelConfig:
    """A sequence model: one letter of `pattern` a layer.

    `A` attention, `C` compressed attention (our causal form of Linformer), `H` HubRouter, `L` linear attention, `M`
    Mamba, `P` Performer, `R` RWKV's time mixing, `S` S4D, `W` sliding-window attention: the files of
    `hubrouter.mixers`. The paper's systems are in `hubrouter.patterns`. Widths are our choice: the paper prints none.

    Attributes:
        vocab_size: token values V.
        pattern: one letter a layer.
        d_model: width D of the tokens.
        n_heads: heads of all layers but Mamba and S4D; as `RouterConfig`, like the next five.
        n_hubs: hub tokens M.
        k: tokens selected for the council.
        chunk: chunk size of HubRouter, block size of compressed attention.
        neighbours: successors that share a selected token's claim.
        causal: strictly causal HubRouter, or bidirectional as published. The others are always causal.
        mlp_ratio: width of the MLP relative to D.
        rope_base: base of the rotary position embedding.
        council: what HubRouter's council reads; as `RouterConfig`, like the next four.
        selection: which tokens HubRouter selects.
        readout: whether tokens read the hubs.
        adaptive_hubs: whether hubs have gates.
        impl: implementation of HubRouter.
        ssm_state: states S of a channel of Mamba, complex ones of S4D (the defaults of this and the next two are
            mamba's and Jamba's).
        ssm_conv: tokens that Mamba's convolution reads, the own one included.
        ssm_expand: inner width I of Mamba relative to D.
        ssm_heads: None for Mamba-1 (a step size for each channel, a decay for each state), or the heads of Mamba-2 (one
            step size and one decay a head); they divide I.
        ssm_chunk: tokens a chunk of the scans that have chunks, and of `L`, `P`, `R` and `S`. It changes speed and
            rounding, not what is computed. 64 is our choice: forward and backward on one CPU thread, no size from 8 to
            128 is faster for Mamba at both width 64, N = 128, batch 16 and width 256, N = 1024, batch 2; 16 is slower.
        scan: implementation of the selective scan; see `hubrouter.selective_scan`. Never replaced silently.
        window: tokens W that sliding-window attention reads, the own one included (our choice, like the next two).
        summaries: keys and values that replace the `chunk` of a complete block in compressed attention.
        features: random features F of a head of Performer.
    """

    vocab_size: int
    pattern: str = "HH"
    d_model: int = 64
    n_heads: int = 4
    n_hubs: int = 8
    k: int = 16
    chunk: int = 16
    neighbours: int = 1
    causal: bool = True
    mlp_ratio: int = 4
    rope_base: float = 10_000.0
    council: str = "selected+chunk"
    selection: str = "learned"
    readout: bool = True
    adaptive_hubs: bool = False
    impl: str = "reference"
    ssm_state: int = 16
    ssm_conv: int = 4
    ssm_expand: int = 2
    ssm_heads: int | None = None
    ssm_chunk: int = 64
    scan: str = "chunked"
    window: int = 64
    summaries: int = 1
    features: int = 64

    def __post_init__(self) -> None:
        _require(self.vocab_size >= 1, f"vocab_size must be at least 1, not {self.vocab_size}")
        _require(len(self.pattern) >= 1, "pattern must name at least one layer, for instance 'HH'")
        for name in ("mlp_ratio", "window", "summaries", "features"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        self.router()
        self._require_a_scan()

    def _require_a_scan(self) -> None:
        for name in ("ssm_state", "ssm_conv", "ssm_expand", "ssm_chunk"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        heads, inner = self.ssm_heads, self.ssm_inner
        _require(
            heads is None or (heads >= 1 and inner % heads == 0),
            f"ssm_heads={heads} must divide ssm_expand * d_model={inner}, or be None for Mamba-1",
        )
        _require(self.scan in SCANS, f"scan must be one of {', '.join(SCANS)}, not {self.scan!r}")
        _require(
            self.scan != "matmul" or heads is not None,
            "scan='matmul' needs one decay a head (Mamba-2): set ssm_heads, or choose scan='chunked'",
        )

    @property
    def ssm_inner(self) -> int:
        """Inner width I of a Mamba layer."""
        return self.ssm_expand * self.d_model

    def router(self) -> RouterConfig:
        """The configuration of this model's HubRouter layers."""
        return RouterConfig(**{field.name: getattr(self, field.name) for field in fields(RouterConfig)})
