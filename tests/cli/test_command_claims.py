"""`hubrouter-audit claims` and `report`: verdicts, exit codes, bad input, and reports that are whole or not there."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from audits.__main__ import main
from audits.claims.claim import Claim, ClaimVerdict, JudgedClaim, Judgement, expectations, judge_all
from audits.claims.registry import all_claims
from audits.cli._exits import CommandError
from audits.cli.claims import _chosen, exit_code
from audits.evidence.ledger import Evidence, Ledger, Record
from audits.experiments.registry import todays_code

REPORTS = Path(__file__).resolve().parents[2] / "reports"
JUDGED = ["hub-gpt-ppl", "hub-jamba-ppl", "throughput-90x"]
RESULT = {"leak_class": "dense", "named": "dense", "leaky": {"gradient": "LEAK"}, "clean": {"gradient": "PASS"}}
FILES = {"README.md", "claims.html", "claims.json", "claims.schema.json", "claims/cost.md", "leaks.json", "junit.xml"}


def judged(verdict: ClaimVerdict, expected: ClaimVerdict | None, *, gate: bool = True) -> JudgedClaim:
    judgement = Judgement(verdict, "reason", "change", gate=gate)
    claim = Claim("demo", "statement", "source", "test", "refuted by", lambda _evidence: judgement)
    return JudgedClaim(claim, "quick", judgement, expected)


def test_every_claim_has_a_reviewed_expectation_and_every_expectation_a_claim() -> None:
    assert {claim.id for claim in all_claims()} == set(expectations())


def test_every_claim_of_the_paper_is_judged() -> None:
    paper = {
        "cost", "hub-jamba-ppl", "throughput-90x", "throughput-optimised", "graduated-25", "hub-gpt-causal",
        "hub-gpt-ppl", "chunk-size", "hub-count", "orthogonal-m6", "retrofit",
    }  # fmt: skip
    assert paper <= {claim.id for claim in all_claims()}


def test_without_evidence_no_claim_is_supported_or_refuted_by_a_run() -> None:
    needy = tuple(claim for claim in all_claims() if claim.needs)
    verdicts = {item.judgement.verdict for item in judge_all(needy, Evidence(), {})}
    assert not verdicts & {ClaimVerdict.SUPPORTED, ClaimVerdict.REFUTED, ClaimVerdict.ERROR}


def test_a_test_that_raises_is_an_error_and_does_not_take_the_others_down() -> None:
    def explode(_evidence: Evidence) -> Judgement:
        raise ZeroDivisionError("no seeds")

    broken = Claim("broken", "s", "s", "t", "r", explode)
    first, second = judge_all((broken, all_claims()[0]), Evidence(), {})
    assert first.judgement.verdict is ClaimVerdict.ERROR
    assert "no seeds" in first.judgement.reason
    assert second.judgement.verdict is not ClaimVerdict.ERROR


def test_exit_codes_follow_the_contract() -> None:
    good = judged(ClaimVerdict.SUPPORTED, ClaimVerdict.SUPPORTED)
    unexpected = judged(ClaimVerdict.REFUTED, ClaimVerdict.SUPPORTED)
    unreviewed = judged(ClaimVerdict.SUPPORTED, None)
    ungated = judged(ClaimVerdict.INCONCLUSIVE, ClaimVerdict.INCONCLUSIVE, gate=False)
    error = judged(ClaimVerdict.ERROR, ClaimVerdict.ERROR)
    assert exit_code([good], failed=False) == 0
    assert [exit_code([good, bad], failed=False) for bad in (unexpected, unreviewed, ungated)] == [1, 1, 1]
    assert exit_code([good, error], failed=False) == 3
    assert exit_code([good], failed=True) == 3


def test_evidence_that_is_missing_contradicts_no_expectation() -> None:
    claim = next(claim for claim in all_claims() if claim.id == "cost")
    (item,) = judge_all((claim,), Evidence(), {})
    assert item.judgement.missing
    assert exit_code([item], failed=False) == 0


def test_a_report_without_any_evidence_exits_2_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--reports", str(tmp_path / "mistyped")]) == 2
    assert "no evidence in" in capsys.readouterr().err
    assert not (tmp_path / "mistyped").exists()


@pytest.fixture
def nothing_to_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every claim needs runs, some of them minutes long; what is tested here comes after them."""
    monkeypatch.setattr("audits.cli.claims.all_experiments", lambda: ())


@pytest.mark.usefixtures("nothing_to_gather")
def test_claims_are_judged_and_the_reports_are_written(tmp_path: Path) -> None:
    assert main(["claims", "--only", *JUDGED, "--reports", str(tmp_path)]) == 0
    assert all((tmp_path / name).is_file() for name in FILES)
    claims = {claim["id"]: claim for claim in json.loads((tmp_path / "claims.json").read_text())["claims"]}
    assert set(claims) == {claim.id for claim in all_claims()}
    assert claims["hub-gpt-ppl"]["verdict"] == "INCONCLUSIVE"


@pytest.mark.usefixtures("nothing_to_gather")
def test_the_report_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    Ledger(tmp_path / "evidence").append(Record("kill-matrix", {"twin": "needle"}, 0, RESULT, {}, 1.0))
    main(["claims", "--only", "retrofit", "--reports", str(tmp_path)])
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    main(["report", "--reports", str(tmp_path)])
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == before


@pytest.mark.usefixtures("nothing_to_gather")
def test_fresh_reports_stand_beside_the_committed_ones_and_are_compared_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "evidence").symlink_to(REPORTS / "evidence")
    main(["claims", "--only", "cost", "auditor-power"])
    shown = capsys.readouterr().out
    assert "Beside the committed reports, tier quick: 2 verdicts of 2 the same." in shown
    assert all((tmp_path / "reports" / "local" / name).is_file() for name in FILES)
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["evidence", "local"]
    capsys.readouterr()
    main(["claims", "--only", "cost", "--reports", "reports"])
    assert "Beside" not in capsys.readouterr().out
    assert (tmp_path / "reports" / "README.md").is_file()


@pytest.mark.usefixtures("nothing_to_gather")
def test_a_verdict_that_differs_from_the_committed_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "evidence").symlink_to(REPORTS / "evidence")
    for record in Ledger(REPORTS / "evidence").read().of("kernel-check"):  # as if the kernels were wrong here
        code = todays_code()[record.experiment]
        wrong = replace(record, code=code, result=record.result | {"repeats": False})
        Ledger(Path("reports/local/evidence")).append(wrong)
    main(["claims", "--only", "kernels", "cost"])
    assert "kernels: REFUTED here, SUPPORTED there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "perpetual-motion"], "no claim is called perpetual-motion"),
        (["--only", "hub-gpt-causal", "--corpus", "{tmp}/missing.txt"], "missing.txt"),
        (["--only", "hub-gpt-causal", "--corpus", "{tmp}/empty.txt"], "empty"),
        (["--only", "hub-gpt-causal", "--corpus", "{tmp}/short.txt"], "short"),
        (["--only", "hub-gpt-causal", "--corpus", "{tmp}/binary.txt"], "UTF-8"),
        (["--only", "hub-gpt-causal", "--corpus", "{tmp}"], "folder"),
        (["--only", "retrofit", "--device", "warp"], "device 'warp'"),
        (["--only", "retrofit", "--workers", "0"], "workers"),
        (["--only", "retrofit", "--reports", "{tmp}/empty.txt"], "empty.txt"),
    ],
)
def test_bad_input_exits_2_with_one_clear_line_and_no_report(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("too short to train on")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00" * 1000)
    before = sorted(path.name for path in tmp_path.iterdir())
    reports = [] if "--reports" in words else ["--reports", str(tmp_path / "reports")]
    try:
        code = main(["claims", *(word.replace("{tmp}", str(tmp_path)) for word in words), *reports])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    err = capsys.readouterr().err
    assert code == 2
    assert message in err
    assert err.strip().count("\n") == 0
    assert "Traceback" not in err
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "evidence"]
    assert sorted(path.name for path in left) == [name for name in before if name.endswith(".txt")]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupt_in_mid_training_says_so_in_one_line_and_leaves_no_half_report(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"line {n} of {n * n % 977} words, or so" for n in range(30_000)))
    command = [sys.executable, "-m", "audits", "claims", "--only", "hub-gpt-causal", "--corpus", str(text)]
    process = subprocess.Popen(
        [*command, "--reports", str(tmp_path / "reports")],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "HUBROUTER_AUDIT_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "cache").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("hubrouter-audit: interrupted")
    assert not list((tmp_path / "reports").glob("claims*"))


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupt_while_torch_is_being_imported_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "audits", "report", "--reports", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:  # the import log tells how far it is
            if line.rstrip().endswith(" torch.types"):
                process.send_signal(signal.SIGINT)
                break
        rest = [line for line in process.stderr if not line.startswith("import time:")]
    assert process.returncode == 130, rest
    assert len(rest) == 1
    assert rest[0].startswith("hubrouter-audit: interrupted")


def test_claims_are_chosen_by_id_or_pattern_and_an_unknown_one_is_named():
    known = all_claims()
    assert _chosen(known, None) == known
    assert [claim.id for claim in _chosen(known, ["retrofit", "retrofit", "cost"])] == ["cost", "retrofit"]
    routing = _chosen(known, ["routing-*"])
    assert len(routing) >= 20
    assert all(claim.id.startswith("routing-") for claim in routing)
    with pytest.raises(CommandError, match=r"no claim is called warp-\*; there are attack-"):
        _chosen(known, ["cost", "warp-*"])
