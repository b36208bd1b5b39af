import xml.etree.ElementTree as ET

import torch
from torch import nn

from audits import Contract
from audits.instruments.influence import influence_of, times_of
from audits.report.render.influence import influence_map
from audits.subject.prepare import prepare
from audits.subject.settings import Settings


class Pairs(nn.Module):
    """Output k is the sum of samples up to 2k + 1."""

    def forward(self, x):
        return x.cumsum(1)[:, 1::2]


def subject_of(contract):
    return prepare(Pairs() if contract else nn.Identity(), Settings("features", width=3, seq_len=8, contract=contract))


def test_positions_are_called_by_the_times_of_a_contract():
    subject = subject_of(Contract(hop=2))
    times = times_of(subject)
    assert times == ("1", "3", "5", "7")
    influence = influence_of(subject)
    assert torch.tensor(influence).triu(1).eq(0).all()
    drawing = influence_map("m", "", tuple(map(tuple, influence)), 1.0, times=times)
    assert {"1", "3", "5", "7"} <= {e.text for e in ET.fromstring(drawing).iter() if e.get("class") == "tick"}
    assert "by the time it is due" in drawing


def test_without_clocks_they_are_positions():
    assert times_of(subject_of(None)) == ()
    drawing = influence_map("m", "", ((1.0, 0.0), (1.0, 1.0)), 1.0)
    assert "output position" in drawing
