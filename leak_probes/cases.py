"""Cases drawn by Hypothesis: one layer or one small sequence model, and its input."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from hubrouter import HubRouter, ModelConfig, RouterConfig, SequenceModel
from hubrouter.config import COUNCILS, SELECTIONS
from hubrouter.mixers.discover import builders
from hubrouter.state import BLOCK

VOCAB = 11
SHORT, LONG = 20, 160  # tokens: every cut is tried up to the first
DRAWN_CUTS = 12  # in longer sequences
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, repr=False)
class Case:
    """A strictly causal subject and its input; equal cases have equal weights and inputs.

    Attributes:
        pattern: layers of a `SequenceModel` on tokens; empty for a bare layer on features.
        layer: letter of the bare layer.
        length: tokens N, at least 2.
        pairs: rotary pairs a head, so that the width D is 2 * pairs * n_heads.
        training: whether to call it in training mode.
        seed: of weights and inputs.
        impl: implementation of HubRouter.
        near: features that differ by a hundredth, so that scores lie about one step of the grid apart, on which they
            are compared: what moves the grid then moves the selection.
    """

    pattern: str = ""
    batch: int = 1
    length: int = 2
    n_heads: int = 1
    pairs: int = 1
    n_hubs: int = 1
    k: int = 1
    chunk: int = 1
    neighbours: int = 0
    dtype: str = "float64"
    training: bool = False
    seed: int = 0
    impl: str = "reference"
    council: str = "selected+chunk"
    selection: str = "learned"
    readout: bool = True
    adaptive_hubs: bool = False
    layer: str = "H"
    near: bool = False

    def __repr__(self) -> str:
        """The call that constructs this case, without arguments at their default: a shrunk case is then short."""
        values = {field: getattr(self, field.name) for field in fields(self)}
        arguments = [f"{field.name}={value!r}" for field, value in values.items() if value != field.default]
        return f"Case({', '.join(arguments)})"

    @property
    def width(self) -> int:
        """D."""
        return 2 * self.pairs * self.n_heads

    def config(self) -> ModelConfig:
        """The configuration, for a layer too."""
        return ModelConfig(
            vocab_size=VOCAB,
            pattern=self.pattern or self.layer,
            d_model=self.width,
            n_heads=self.n_heads,
            n_hubs=self.n_hubs,
            k=self.k,
            chunk=self.chunk,
            neighbours=self.neighbours,
            impl=self.impl,
            council=self.council,
            selection=self.selection,
            readout=self.readout,
            adaptive_hubs=self.adaptive_hubs,
            mlp_ratio=2,
            ssm_chunk=self.chunk,
            ssm_state=self.n_hubs,
            ssm_conv=1 + self.k % 4,
            ssm_heads=2 if self.neighbours == 2 else None,
            window=self.k,
            summaries=1 + self.neighbours,
            features=1 + self.n_hubs,
        )

    def build(self) -> nn.Module:
        """The layer or model."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            config = self.config()
            model = SequenceModel(config) if self.pattern else builders()[self.layer](config)
        return self.prepared(model)

    def prepared(self, model: nn.Module) -> nn.Module:
        """In this case's dtype and mode, with router weights large enough to prefer some hubs and tokens."""
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, HubRouter):
                    module.project.weight.mul_(2)
                    module.score.head.weight.mul_(4)
                    if module.gates is not None:  # from closed to wide open
                        module.gates.level.copy_(torch.linspace(-1.2, 0, self.n_hubs))
        return model.to(DTYPES[self.dtype]).train(self.training)

    def cuts(self) -> Tensor:
        """Where the past is cut from the future: everywhere in short sequences, else at borders and places drawn."""
        if self.length <= SHORT:
            return torch.arange(1, self.length)
        drawn = torch.randperm(self.length - 1, generator=torch.Generator().manual_seed(self.seed))[:DRAWN_CUTS] + 1
        borders = self.chunk * torch.tensor([1, 2, self.length // self.chunk - 1, self.length // self.chunk])
        ends = torch.tensor([1, BLOCK, BLOCK + 1, self.length - 1])
        cuts = torch.cat([drawn, borders, borders + 1, ends]).unique()
        return cuts[(cuts > 0) & (cuts < self.length)]

    def valid(self) -> tuple[str, Tensor]:
        """Where padding is, and a mask [1, N] of what is real: all but some tokens at an end, or here and there."""
        position = torch.arange(self.length)
        padded = 1 + self.seed // 3 % self.length
        holes = torch.rand(self.length, generator=torch.Generator().manual_seed(self.seed)) < 0.7
        masks = {"at the left": position >= padded, "at the right": position < self.length - padded, "between": holes}
        where = sorted(masks)[self.seed % len(masks)]
        return where, masks[where][None]

    def router(self) -> RouterConfig:
        """The configuration of a bare layer."""
        return self.config().router()

    def inputs(self, rows: int | None = None, draw: int = 0) -> Tensor:
        """Standard normal features [rows, N, D] or uniform tokens [rows, N]; another `draw` gives others."""
        gen = torch.Generator().manual_seed(1000 * self.seed + draw)
        rows = self.batch if rows is None else rows
        if self.pattern:
            return torch.randint(VOCAB, (rows, self.length), generator=gen)
        drawn = torch.randn(rows, self.length, self.width, generator=gen, dtype=torch.float64)
        drawn = drawn[:, :1] + drawn / 100 if self.near and not draw else drawn
        return drawn.to(DTYPES[self.dtype])


_ABLATIONS = {
    "council": st.sampled_from(COUNCILS),
    "selection": st.sampled_from(SELECTIONS),
    "readout": st.sampled_from([True, False]),
    "adaptive_hubs": st.booleans(),
}


def layers(longest: int = LONG) -> st.SearchStrategy[Case]:
    """Bare layers with ragged sizes; they shrink towards two tokens, one head, one hub and chunks of one."""
    return st.builds(
        Case,
        batch=st.integers(1, 3),
        length=st.integers(2, SHORT) | st.integers(SHORT, longest),
        n_heads=st.integers(1, 3),
        pairs=st.integers(1, 3),
        n_hubs=st.integers(1, 6),
        k=st.integers(1, 8),
        chunk=st.integers(1, 9),
        neighbours=st.integers(0, 3),
        dtype=st.sampled_from(
            ["float64", *DTYPES]
        ),  # float64 twice as often: only there k stays small where lengths are compared
        training=st.booleans(),
        seed=st.integers(0, 99),
        near=st.booleans(),
        **_ABLATIONS,
    )


def models() -> st.SearchStrategy[Case]:
    """Sequence models of one to three layers, of all kinds of layers, in float64."""
    return st.builds(
        Case,
        pattern=st.text(sorted(builders()), min_size=1, max_size=3),
        batch=st.integers(1, 2),
        length=st.integers(2, 16),
        n_heads=st.integers(1, 2),
        pairs=st.integers(1, 2),
        n_hubs=st.integers(1, 4),
        k=st.integers(1, 6),
        chunk=st.integers(1, 6),
        neighbours=st.integers(0, 2),
        training=st.booleans(),
        seed=st.integers(0, 99),
        **_ABLATIONS,
    )
