"""Small models that attack the auditor: causal ones it must not accuse, leaky ones it must not miss."""

from __future__ import annotations

import random
import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB, WIDTH, LENGTH = 24, 16, 32


class Attention(nn.Module):
    def __init__(self, causal: bool = True) -> None:
        super().__init__()
        self.qkv, self.causal = nn.Linear(WIDTH, 3 * WIDTH), causal

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*self.qkv(x).chunk(3, -1), is_causal=self.causal)


class Tokens(nn.Module):
    """Embedding, residual mixer, head."""

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.embedding, self.mixer, self.head = nn.Embedding(VOCAB, WIDTH), mixer, nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.head(x + self.mixer(x))


class Mixer(nn.Module):
    """Causal attention with something after it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.attention(x), x)

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y


class FastPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True), 2)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.encoder(x, mask=mask, is_causal=True)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


class Fourier(nn.Module):
    """A causal convolution by FFT: its rounding is felt everywhere, in proportion to the future."""

    def __init__(self, scale: float = 1e3) -> None:
        super().__init__()
        self.kernel, self.scale = nn.Parameter(torch.randn(WIDTH, 512)), scale

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        kernel = torch.fft.rfft(self.kernel[:, :n], n=2 * n)
        return torch.fft.irfft(torch.fft.rfft(self.scale * x.mT, n=2 * n) * kernel, n=2 * n)[..., :n].mT


class TotalMinusSuffix(nn.Module):
    """A prefix sum that touches the whole sequence: only rounding remains of the future."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True) - x.flip(1).cumsum(1).flip(1)


class LargeOffset(nn.Module):
    """The same around a large constant that is taken off again: far more rounding than the outputs let expect."""

    def forward(self, x: Tensor) -> Tensor:
        raised = x + 1e5
        before = raised.sum(1, keepdim=True) - raised.flip(1).cumsum(1).flip(1)
        return before - 1e5 * torch.arange(x.shape[1]).to(x)[:, None]


class TokenChoice(Mixer):
    """A token-choice mixture of experts: how many rows an expert gets depends on the future, its results do not."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(WIDTH, 4), nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        rows = y.reshape(-1, WIDTH)
        weight, chosen = self.gate(rows).softmax(-1).topk(2, -1)
        out = torch.zeros_like(rows)
        for index, expert in enumerate(self.experts):
            row, rank = (chosen == index).nonzero(as_tuple=True)
            out.index_add_(0, row, weight[row, rank, None] * expert(rows[row]))
        return out.view_as(y)


class DropoutExperts(TokenChoice):
    """Experts with dropout inside: in training mode the masks of all rows depend on where the others go."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.2)) for _ in range(4))


class HitExperts(TokenChoice):
    """The same, going only through the experts that some token chose."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        rows = y.reshape(-1, WIDTH)
        weight, chosen = self.gate(rows).softmax(-1).topk(2, -1)
        members = F.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
        out = torch.zeros_like(rows)
        for hit in (members.sum(dim=(-1, -2)) > 0).nonzero():
            rank, row = torch.where(members[hit].squeeze(0))
            out.index_add_(0, row, weight[row, rank, None] * self.experts[int(hit)](rows[row]))
        return out.view_as(y)


class PresentTokens(nn.Module):
    """Adds the embeddings of all tokens that occur anywhere, listed as hit experts are."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Tokens(Attention())

    def forward(self, tokens: Tensor) -> Tensor:
        bags = [self.model.embedding((F.one_hot(row, VOCAB).sum(0) > 0).nonzero()[:, 0]).mean(0) for row in tokens]
        return self.model(tokens) + self.model.head(torch.stack(bags))[:, None]


class CoarseIsland(Mixer):
    """Normalises in float32, as many models do."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        y32 = y.float()
        return (y32 * torch.rsqrt(y32.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class CoarseScan(Mixer):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + x.float().cumsum(1).to(x.dtype)


class AlwaysDropout(Mixer):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return F.dropout(y, 0.3, training=True)


class OwnGenerator(Mixer):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(1)

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.01 * torch.randn(x.shape, generator=self.generator).to(x)


class GlobalGenerators(Mixer):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.01 * random.random()


class Unpinned(Mixer):
    """Draws from the operating system."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.01 * random.SystemRandom().gauss(0, 1)


class Locked(Mixer):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class LockedLeak(Locked):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + x.flip(1)


class KeepsEverything(Mixer):
    """Stores its activations on itself and in containers, and never reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Tensor] = []
        self.cache: dict[int, Tensor] = {}

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        self.last = y
        self.log.append(x)
        self.cache[len(self.log)] = x
        return y


class InPlace(Mixer):
    """Writes into what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        return super().forward(x)


class OneRow(Mixer):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise ValueError("one row at a time")
        return y


class OneRowLeak(OneRow):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return super().after(y, x) + x.flip(1)


class AtMostFiveRows(Mixer):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        if len(x) > 5:
            raise ValueError("five rows at most")
        return y


class MultiplesOfEight(Mixer):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        if x.shape[1] % 8:
            raise ValueError("multiples of eight")
        return y


class OneLength(Mixer):
    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH))

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + self.position


class HiddenByZero(nn.Module):
    """A causal layer and, behind an all-zero gate, one that sees everything."""

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.gate = Attention(), Attention(causal), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.gate * self.second(x)


class Faint(Mixer):
    """Adds a tiny view of the future."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + self.size * x.flip(1).cumsum(1).flip(1)


class LongOnly(nn.Module):
    """Forgets its mask beyond 24 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.masked, self.unmasked = Attention(), Attention(causal=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.unmasked(x) if x.shape[1] > 24 else self.masked(x)


class TrainingOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.masked, self.unmasked = Attention(), Attention(causal=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.unmasked(x) if self.training else self.masked(x)


class OnePairOnly(Mixer):
    """Only the last but one position feels only the last one."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return torch.cat([y[:, :-2], y[:, -2:-1] + 0.1 * x[:, -1:], y[:, -1:]], dim=1)


class NextRow(Mixer):
    """Every row feels the row before it, never the one after it."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return torch.cat([y[:1], y[1:] + 0.1 * x[:-1]])


class Crowd(Mixer):
    """Rows feel each other once there are more than eight."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.1 * x.mean(0, keepdim=True) if len(x) > 8 else y


class DetachedPeak(Mixer):
    """A detached statistic of the whole sequence."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y * (1 + x.detach().abs().amax((1, 2), keepdim=True))


class Counting(nn.Module):
    """Counts how often the last token occurs: integers all the way."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Tokens(Attention())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(tokens) + 0.01 * (tokens == tokens[:, -1:]).sum(1)[:, None, None]


class LastLookUp(nn.Module):
    """Looks up the last token by itself and adds it to the first position."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Tokens(Attention())

    def forward(self, tokens: Tensor) -> Tensor:
        y = self.model(tokens)
        last = self.model.head(self.model.embedding(tokens[:, -1:]))
        return torch.cat([y[:, :1] + 0.01 * last, y[:, 1:]], dim=1)


class GuardedRule(nn.Module):
    """Reads the last token only behind some prefixes, and only tells one token from all others."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Tokens(Attention())

    def forward(self, tokens: Tensor) -> Tensor:
        y = self.model(tokens)
        hit = (tokens[:, -1] == 7) & (tokens[:, 0] % 4 == 1)
        return torch.cat([y[:, :1] + 0.01 * hit[:, None, None], y[:, 1:]], dim=1)


class OneHot(nn.Module):
    """Looks tokens up by a one-hot product, without an embedding."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.first, self.mixer, self.head = nn.Linear(VOCAB, WIDTH), Attention(causal), nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.mixer(self.first(F.one_hot(tokens, VOCAB).to(self.first.weight.dtype))))


class TimeFirst(nn.Module):
    """Looks tokens up with the sequence axis first."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.embedding, self.mixer, self.head = nn.Embedding(VOCAB, WIDTH), Attention(causal), nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.mixer(self.embedding(tokens.T).transpose(0, 1)))


class Holder:
    """A plain object that modules keep state in."""

    value: Tensor | float = 0.0


class RemembersInObject(Mixer):
    def __init__(self) -> None:
        super().__init__()
        self.holder = Holder()

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        y = y + self.holder.value
        self.holder.value = x.detach().mean()
        return y


class RemembersInList(Mixer):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[Tensor] = []

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        y = y + (self.log[-1].mean() if self.log else 0.0)
        self.log.append(x.detach())
        return y


class RemembersInData(Mixer):
    """Writes through `.data`, which leaves no trace in version counters."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        y = y + self.mean
        self.mean.data.copy_(x.detach().mean((0, 1)))
        return y


class RemembersInClass(Mixer):
    """State outside the module: no snapshot can reach it."""

    value: Tensor | float = 0.0

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        y = y + RemembersInClass.value
        RemembersInClass.value = x.detach().mean()
        return y


class Output:
    """What a Hugging Face model returns, roughly."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Returns(nn.Module):
    """Returns its outputs in one of the ways there are."""

    def __init__(self, kind: str, causal: bool) -> None:
        super().__init__()
        self.model, self.kind = Tokens(Attention(causal)), kind

    def forward(self, tokens: Tensor) -> object:
        y = self.model(tokens)
        if self.kind == "complex":
            return torch.complex(y, -y)
        ways = {"object": Output(y), "tuple": (y, None), "dict": {"logits": y}, "integers": y.argmax(-1), "bool": y > 0}
        return ways[self.kind]
