"""Next-item scores that are trained against the item itself: the present is part of what they are made of."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks.contracts._parts import VOCAB, WIDTH, delayed, running_mean, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract


class Recommender(nn.Module):
    """Items [B, N] to the scores [B, N, V] of the item at each slot, from those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(VOCAB, WIDTH)
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.scores = nn.Linear(WIDTH, VOCAB)

    def forward(self, item_ids: Tensor) -> Tensor:
        """Summarise the history, then score."""
        history = self.history(self.items(item_ids))
        scores: Tensor = self.scores(self.hidden(history).tanh())
        return scores

    def history(self, x: Tensor) -> Tensor:
        """What each slot knows of those before it."""
        return running_mean(delayed(x))


class PresentRecommender(Recommender):
    """The same, not delayed."""

    def history(self, x: Tensor) -> Tensor:
        """What each slot knows, itself included: the planted defect."""
        return running_mean(x)


LEAK = ContractLeak(
    name="present_included",
    mechanism="The scores of an item are made of the item itself, because the history is not shifted.",
    leaky=lambda: seeded(PresentRecommender),
    clean=lambda: seeded(Recommender),
    contract=Contract(strict=True),
    reads=lambda source, sink: source == sink,
    line="self.scores(self.hidden(history)",
    argument="item_ids",
    vocab_size=VOCAB,
)
