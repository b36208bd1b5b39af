"""Comparison with another checker: what is measured and reported, and what is shown where the peer is missing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from audits.__main__ import main
from audits.claims.judged import Report
from audits.claims.tool import _peers as peers
from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.auditor import _causal_certificate as peer
from audits.experiments.auditor.peer import EXPERIMENT, execute
from audits.report.claims.console import print_document
from audits.report.claims.kill_matrix import peers_document
from audits.subject.settings import Settings


def side(ours: str, other: str) -> dict[str, str]:
    return {"ours": ours, "peer": other, "peer_why": ""}


def leak(name: str, leak_class: str, leaky: dict[str, str], clean: dict[str, str]) -> Record:
    result = {"leak_class": leak_class, "peer": "checker 1", "leaky": leaky, "clean": clean}
    return Record("peer", {"twin": name}, 0, result, {}, 1.0)


TIME = {"verdict": "PASS", "s_low": 0.1, "s_high": 0.9}
RECORDS = (
    leak("mask", "dense", side("LEAK", "LEAK"), side("PASS", "PASS")),
    leak("topk", "selection", side("LEAK", "PASS"), side("PASS", "LEAK")),
    leak("odd", "selection", side("LEAK", "CANNOT_RUN"), side("PASS", "CANNOT_RUN")),
    Record(
        "peer",
        {"model": "llama", "n": 48},
        0,
        {
            "peer": "checker 1",
            "rows": [{"way": "peer", "s_median": 0.2, **TIME}, {"way": "ours, all probes", "s_median": 0.5, **TIME}],
        },
        {},
        1.0,
    ),
)


def report(*records: Record) -> Report:
    return Report((), Evidence(records))


def test_what_each_finds_is_counted_and_only_a_leak_counts_as_found():
    found = peers.peers(report(*RECORDS))
    assert found is not None
    assert [(found.seen(way), found.alarms(way)) for way in ("ours", "peer")] == [(3, 0), (1, 1)]
    assert peers.class_table(found).rows == (("dense", "1", "1", "1"), ("selection", "2", "2", "0"))
    assert "this auditor finds 3 and checker 1 finds 1" in peers.sentence(found)


def test_times_are_shown_with_their_range_and_as_a_multiple_of_the_peers():
    found = peers.peers(report(*RECORDS))
    assert found is not None
    assert peers.time_table(found).rows == (
        ("llama", "48", "checker 1", "PASS", "0.200", "0.100 to 0.900", "1.00"),
        ("llama", "48", "ours, all probes", "PASS", "0.500", "0.100 to 0.900", "2.50"),
    )


@pytest.mark.parametrize("end", ["md", "html"])
def test_the_page_tells_both_or_that_the_peer_was_not_run(end):
    text = peers_document(report(*RECORDS)).files[f"peers.{end}"]
    assert "checker 1 finds 1" in text
    assert "0.100 to 0.900" in text
    assert "the peer is not installed here" in peers_document(report()).files[f"peers.{end}"]


def test_the_terminal_tells_both_or_that_the_peer_was_not_run():
    texts = []
    for evidence in (report(*RECORDS), report()):
        buffer = io.StringIO()
        print_document(peers_document(evidence), Console(file=buffer, width=160), folded=True)
        texts.append(buffer.getvalue())
    assert "LEAK / PASS" in texts[0]
    assert "checker 1 finds 1" in texts[0]
    assert "not run" in texts[1]


def test_without_the_peer_the_command_says_so_in_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peer, "installed", lambda: False)
    assert main(["peers", "--reports", str(tmp_path / "reports")]) == 2
    assert "not run: causal-certificate is not installed" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_a_token_model_is_a_function_of_its_embeddings():
    embedding, head = nn.Embedding(7, 3).double(), nn.Linear(3, 7).double()
    function, x = peer.differentiable(nn.Sequential(embedding, head), Settings(vocab_size=7, seq_len=5))
    assert x.shape == (2, 5, 3)
    given = torch.randn_like(x)
    assert torch.equal(function(given), head(given))


def test_a_token_model_without_an_embedding_cannot_be_given_to_the_peer():
    def plain(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[..., None].double()

    with pytest.raises(ValueError, match="no embedding"):
        peer.differentiable(plain, Settings(vocab_size=7, seq_len=5))  # type: ignore[arg-type]


def test_no_claim_needs_the_peer_so_the_main_job_never_runs_it():
    from audits.claims.registry import all_claims

    assert EXPERIMENT.exclusive
    assert all(EXPERIMENT.name not in claim.needs for claim in all_claims())


@pytest.mark.skipif(not peer.installed(), reason="the peer is an extra: `nox -s peers` installs it")
def test_both_see_a_dense_leak_and_only_this_auditor_a_selection():
    for name, seen in (("mask_times_tril", "LEAK"), ("chunk_mean_routing", "PASS")):
        result = execute(RunSpec("peer", {"twin": name}), Options(), lambda *_: None)
        assert (result["leaky"]["ours"], result["leaky"]["peer"]) == ("LEAK", seen)
        assert (result["clean"]["ours"], result["clean"]["peer"]) == ("PASS", "PASS")
