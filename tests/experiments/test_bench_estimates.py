"""What the bench shows without a record: where the layer's time goes, and the least times on a machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bench_samples import record, row
from torch import Tensor, nn

from audits.__main__ import main
from audits.evidence.ledger import Ledger
from audits.experiments.bench import _floor as floor
from audits.experiments.bench import _profile
from audits.experiments.bench._roofline import ASSUMED, LAYERS, LENGTHS, roofline_table
from audits.experiments.bench.bench import SIZES
from hubrouter import HubRouter, RouterConfig

WIDTH, TOKENS = 32, 64


def subject() -> tuple[HubRouter, Tensor]:
    return HubRouter(RouterConfig(WIDTH, 2, 3, 5, 8)), torch.randn(1, TOKENS, WIDTH)


class Thrice(nn.Module):
    """In place of the first projection: no product; the layer reads the weight's dtype."""

    weight = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, 1, 3)


def test_every_kind_of_operation_has_its_share_of_the_layers_time() -> None:
    found = _profile.profiled(*subject())
    assert sum(found.shares.values()) == pytest.approx(1)
    assert set(found.shares) == set(_profile.KINDS)
    assert all(share > 0 for share in found.shares.values())
    assert (found.n, found.dtype) == (TOKENS, "float32")


def test_projections_that_are_cut_out_have_no_share() -> None:
    layer, x = subject()
    layer.project, layer.output = Thrice(), nn.Identity()  # type: ignore[assignment]
    assert _profile.profiled(layer, x).shares["projections"] == 0


def test_products_of_the_backward_pass_belong_to_the_part_whose_gradient_they_are() -> None:
    seen = [label for name, label, _ in _profile.spans(*subject()) if name == "aten::mm"]
    two_linear_layers = 2 * (1 + floor.BACKWARD)
    assert seen.count("projections") == _profile.STEPS * two_linear_layers
    labels = {label for name, label, _ in _profile.spans(*subject()) if name == "aten::embedding_dense_backward"}
    assert labels == {"council"}
    layer, x = subject()
    half = [label for name, label, _ in _profile.spans(layer.bfloat16(), x.bfloat16()) if name == "aten::bmm"]
    products = 2 * (1 + floor.BACKWARD)
    assert half.count("attend") == _profile.STEPS * products  # an operator with a backward pass of its own


def test_the_profile_is_printed_as_a_table_and_as_json_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIZES, "full", SIZES["quick"])
    threads = torch.get_num_threads()
    assert main(["bench", "--profile", "64", "--reports", str(tmp_path / "reports")]) == 0
    table, _, document = capsys.readouterr().out.partition("\n[\n")
    assert all(kind in table for kind in _profile.KINDS)
    assert [one["dtype"] for one in json.loads("[" + document)] == list(_profile.DTYPES)
    assert torch.get_num_threads() == threads
    assert not (tmp_path / "reports").exists()


def test_the_roofline_is_that_of_the_definitions() -> None:
    shape, tops = SIZES["paper"].shape, ASSUMED["h200"]
    rows = {(cells[0], int(cells[1]), cells[2]): cells for cells in roofline_table(shape, tops).rows}
    assert len(rows) == 2 * len(LENGTHS) * len(LAYERS)
    n, d = 8192, 1024
    flops, traffic = 3 * 2 * (8 * n * d * d + 2 * n * n * d), 2 * (2 * n * 25 * d + 12 * d * d)
    least = max(flops / tops.flops, traffic / tops.bytes)
    gflop, gigabytes, ms, ratio = rows["forward+backward", n, "attention"][3:]
    assert (float(gflop), float(gigabytes)) == (pytest.approx(flops / 1e9, 1e-2), pytest.approx(traffic / 1e9, 1e-2))
    assert (float(ms), float(ratio)) == (pytest.approx(1000 * least, 1e-2), 1)
    hub = floor.work(floor.hub(shape), shape, n, "forward+backward").flops
    assert float(rows["forward+backward", n, "hub"][6]) == pytest.approx(hub / flops, 1e-2)
    slow = roofline_table(shape, replace(tops, bytes=tops.bytes / 100)).rows
    assert all(float(cells[6]) > 1 for cells in slow if cells[2] == "hub")  # it reads more than attention


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--roofline"], "h200, assumed, 790,000 GFLOP/s, 4,300 GB/s"),
        (["--roofline", "a-processor-2-cores"], "a-processor-2-cores, measured, 100 GFLOP/s, 10 GB/s"),
        (["--roofline", "--matmul-rate", "50"], "h200, assumed, 50 GFLOP/s, 4,300 GB/s"),
        (["--roofline", "--matmul-rate", "50", "--copy-rate", "7"], "given, 50 GFLOP/s, 7 GB/s"),
    ],
)
def test_the_rooflines_rates_are_assumed_recorded_or_given(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Ledger(tmp_path / "evidence").append(record(256, [row("hub/reference", 0.1)]))
    assert main(["bench", *words, "--reports", str(tmp_path)]) == 0
    assert says in " ".join(capsys.readouterr().out.split())
    assert main(["bench", "--roofline", "abacus", "--reports", str(tmp_path)]) == 2
    assert "no rates of abacus are known; there are h200, a-processor-2-cores" in capsys.readouterr().err
