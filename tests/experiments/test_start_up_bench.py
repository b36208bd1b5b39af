"""What starting costs is measured in processes of their own, and shown in the report."""

from __future__ import annotations

import pytest

from audits import audit
from audits.claims.hubrouter._bench_tables import start_up_tables
from audits.claims.judged import Report
from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.bench import start_up
from audits.experiments.bench._toy import model


def test_every_way_is_measured_as_often_as_asked() -> None:
    spec = RunSpec(start_up.NAME, {"import audits": 2})
    result = start_up.execute(spec, Options(), lambda *_: None)
    (row,) = result["rows"]
    assert row["way"] == "import audits"
    assert len(row["seconds"]) == 2
    assert all(0 < seconds < 60 for seconds in row["seconds"])
    (table,) = start_up_tables(Report((), Evidence((Record(start_up.NAME, {}, 0, result, {}, 1.0),))))
    assert [row[0] for row in table.rows] == ["import audits"]
    assert start_up_tables(Report((), Evidence())) == ()


def test_a_way_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(start_up.WAYS, "broken", (("-c", "raise SystemExit('no such thing')"), 1))
    with pytest.raises(RuntimeError, match="ended with 1: no such thing"):
        start_up.execute(RunSpec(start_up.NAME, {"broken": 1}), Options(), lambda *_: None)


def test_the_toy_is_causal() -> None:
    assert audit(model(), seq_len=12, preset="quick").verdict == "PASS"
