"""The ledger survives killed and concurrent writers, and never reads what is not a record."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import audits.evidence.ledger
from audits.evidence.ledger import Evidence, Ledger, LedgerError, Record, run_hash

WRITER = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("ledger", sys.argv[1])  # by its file, to start without torch
ledger = sys.modules["ledger"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ledger)
folder, start, count = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for seed in range(start, start + count):
    ledger.Ledger(folder).append(ledger.Record("demo", {"size": 1}, seed, {"text": "x" * 5000}, {}, 1.0))
"""


def record(seed: int = 0, experiment: str = "demo", **result: object) -> Record:
    return Record(experiment, {"size": 1, "sides": [1, 2]}, seed, dict(result), {"python": "3"}, 1.5)


def writer(folder: Path, start: int, count: int) -> subprocess.Popen[bytes]:
    arguments = [audits.evidence.ledger.__file__, str(folder), str(start), str(count)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments])


def test_a_missing_folder_is_an_empty_ledger(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none").read() == Evidence()


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "evidence")
    ledger.append(record(0, loss=2.5))
    ledger.append(record(1, experiment="other"))
    assert {r.run for r in ledger.read().records} == {record(0).run, record(1, experiment="other").run}
    assert ledger.read().of("demo") == (record(0, loss=2.5),)
    assert sorted(path.name for path in ledger.folder.iterdir()) == ["demo.jsonl", "other.jsonl"]


def test_a_result_by_number_is_recorded_and_reads_back_by_text(tmp_path: Path) -> None:
    Ledger(tmp_path).append(record(0, by_hubs={9: 1.0, 10: 2.0}))  # as numbers 9 comes first, as texts "10"
    assert [r.result for r in Ledger(tmp_path).read().of("demo")] == [{"by_hubs": {"9": 1.0, "10": 2.0}}]


def test_the_latest_record_of_a_run_replaces_earlier_ones(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(record(0, loss=1.0))
    ledger.append(record(0, loss=2.0))
    assert [r.result for r in ledger.read().of("demo")] == [{"loss": 2.0}]


@pytest.mark.parametrize("cut", [1, 2, 40, 10_000])
def test_a_torn_last_line_is_passed_over_and_mended_by_the_next_append(tmp_path: Path, cut: int) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(record(0))
    ledger.append(record(1, text="y" * 10_000))
    file = tmp_path / "demo.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    whole = {0, 1} if cut == 1 else {0}  # with the newline alone missing, nothing of the record is lost
    assert {r.seed for r in ledger.read().records} == whole
    ledger.append(record(2))
    assert {r.seed for r in ledger.read().records} == whole | {2}
    assert file.read_bytes().count(b"\n") == len(whole) + 1


def test_a_file_torn_in_its_first_line_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "demo.jsonl").write_bytes(record().to_line().encode()[:30])
    Ledger(tmp_path).append(record(5))
    assert [r.seed for r in Ledger(tmp_path).read().records] == [5]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("<<<<<<< HEAD\n", "damaged"),
        ('{"schema": 3, "run": "ab\n', "damaged"),
        ("a\rb\n", "damaged"),
        ("\xff\n", "damaged"),
        ('{"loss": NaN}\n', "damaged"),
        ("[1, 2]\n", "schema None"),
        ('{"schema": 99}\n', "schema 99"),
        ('{"schema": 3, "run": "ab"}\n', "damaged"),
        (record(1).to_line().replace('"seed": 1', '"seed": 2'), "does not match"),
        (
            record(1).to_line().replace('"seconds": 1.5', '"seconds": "x"'),
            "got `str` - at `$.seconds`",
        ),
        (record(1).to_line().replace('"schema"', '"more": 1, "schema"'), "missing or unknown: ['more']"),
        (record(1, loss=2.5).to_line().replace("2.5", "2.4"), "edited"),
        (record(1).to_line().replace('"python": "3"', '"python": "4"'), "edited"),
        (record(1).to_line().replace('"digest": "', '"digest": "0'), "edited"),
        (record(1, loss=2.5).to_line().replace("2.5", "1e999"), "damaged"),
        (record(1, loss=2.5).to_line().replace("2.5", "9" * 5000), "damaged"),
        (record(1, loss=2.5).to_line().replace("2.5", "[" * 800 + "]" * 800), "edited"),
        (record(1, loss=2.5).to_line().replace("2.5", "[" * 200_000 + "]" * 200_000), "damaged"),
        ('{"schema": "' + 999 * "9" + '\\u001b[31m\\n"}\n', "schema '9999"),
        (record(1).to_line().replace('"run": "', '"run": "\\u001b[31m\\n'), "does not match"),
        (record(1).to_line().replace('"schema"', '"\\u001b[31m\\n": 1, "schema"'), "missing or unknown"),
    ],
)
def test_a_damaged_line_is_refused_with_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "demo.jsonl"
    file.write_bytes(record(0).to_line().encode() + line.encode("latin-1") + record(3).to_line().encode())
    before = file.read_bytes()
    with pytest.raises(LedgerError, match=r"demo\.jsonl, line 2: ") as caught:
        Ledger(tmp_path).read()
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert file.read_bytes() == before


def test_a_last_line_of_a_later_schema_is_not_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "demo.jsonl"
    file.write_text('{"schema": 4}')
    with pytest.raises(LedgerError, match="schema 4"):
        Ledger(tmp_path).append(record())
    assert file.read_text() == '{"schema": 4}'


def test_empty_lines_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "demo.jsonl").write_text("\n" + record(0).to_line() + "\n" + record(1).to_line())
    assert {r.seed for r in Ledger(tmp_path).read().records} == {0, 1}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (record(0, curve=[1.0, float("nan")]), "cannot be written as JSON: .*not JSON compliant"),
        (record(0, loss=float("inf")), "cannot be written as JSON: .*not JSON compliant"),
        (record(0, loss=object()), "not JSON serializable"),
        (Record("demo", {10: 1, 9: 2}, 0, {}, {}, 1.0), "texts as keys"),  # type: ignore[dict-item]
        (Record("demo", {}, 0, [1], {}, 1.0), r"damaged \(Expected `object`, got `array` - at `\$.result`\)"),  # type: ignore[arg-type]
        (Record("../demo", {}, 0, {}, {}, 1.0), "cannot name a file"),
    ],
)
def test_a_record_that_could_not_be_read_back_is_not_written(tmp_path: Path, bad: Record, says: str) -> None:
    with pytest.raises(LedgerError, match=says):
        Ledger(tmp_path).append(bad)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be made"):
        Ledger(tmp_path / "file" / "evidence").append(record())


def test_a_full_disk_leaves_no_part_of_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(record(0))
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        with pytest.raises(LedgerError, match="no room"):
            ledger.append(record(1))
    assert (tmp_path / "demo.jsonl").read_text() == record(0).to_line()


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "device", "huge"])
def test_what_is_no_file_of_records_is_one_clear_line_and_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "demo.jsonl"
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "link to nothing":
            file.symlink_to(tmp_path / "missing" / "file")
        case "device":
            file.symlink_to("/dev/zero")
        case "huge":
            file.touch()
            os.truncate(file, 2**40)
    for broken in (Ledger(tmp_path).read, lambda: Ledger(tmp_path).append(record())):
        with pytest.raises(LedgerError, match=r"demo\.jsonl: cannot be (read|written): ") as caught:
            broken()
        assert str(caught.value).isprintable()


def test_the_address_depends_on_experiment_config_and_seed_alone() -> None:
    assert run_hash("a", {"x": 1, "y": 2}, 0) == run_hash("a", {"y": 2, "x": 1}, 0)
    assert len({run_hash("a", {}, 0), run_hash("b", {}, 0), run_hash("a", {"x": 1}, 0), run_hash("a", {}, 1)}) == 4
    assert record(0, loss=1.0).run == record(0, loss=2.0).run


def test_two_processes_do_not_lose_or_mix_lines(tmp_path: Path) -> None:
    processes = [writer(tmp_path, start, 60) for start in (0, 1000)]
    assert [process.wait() for process in processes] == [0, 0]
    assert {r.seed for r in Ledger(tmp_path).read().records} == {*range(60), *range(1000, 1060)}


def test_a_killed_writer_loses_no_finished_record(tmp_path: Path) -> None:
    file = tmp_path / "demo.jsonl"
    for start in (0, 10_000, 20_000):
        before = file.stat().st_size if file.exists() else 0
        process = writer(tmp_path, start, 9_999)
        while not file.exists() or file.stat().st_size < before + 30_000:
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    Ledger(tmp_path).append(record(99_999))
    seeds = {r.seed for r in Ledger(tmp_path).read().records}
    for start in (0, 10_000, 20_000):
        mine = sorted(seed for seed in seeds if start <= seed < start + 9_999)
        assert len(mine) >= 5
        assert mine == list(range(start, start + len(mine)))


def made_by(code: str, seed: int = 0, **config: object) -> Record:
    return Record("demo", dict(config), seed, {"made by": code}, {}, 1.0, code)


TODAY = {"demo": {"new"}}


def test_the_address_of_a_run_holds_its_code_and_that_of_its_question_does_not() -> None:
    old, new = made_by("old"), made_by("new")
    assert old.run != new.run
    assert old.question == new.question == run_hash("demo", {}, 0)


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old"), ("older", "old", "new")])
def test_of_several_records_of_a_question_that_of_todays_code_stands(order: tuple[str, ...]) -> None:
    evidence = Evidence(tuple(made_by(code) for code in order))
    assert evidence.latest_per_question(TODAY) == Evidence((made_by("new"),))
    assert evidence.fresh(TODAY) == Evidence((made_by("new"),))


def test_without_a_fresh_record_the_last_one_stands() -> None:
    evidence = Evidence((made_by("older"), made_by("old")))
    assert evidence.latest_per_question(TODAY) == Evidence((made_by("old"),))
    assert evidence.fresh(TODAY) == Evidence()


def test_a_tier_has_its_own_runs_and_those_that_are_the_same_at_every_tier() -> None:
    shared, quick, full = made_by("new"), made_by("new", tier="quick"), made_by("new", tier="full")
    evidence = Evidence((shared, quick, full))
    assert evidence.at("quick") == Evidence((shared, quick))
    assert evidence.at("full") == Evidence((shared, full))
    assert evidence.at("paper") == Evidence((shared,))


def test_only_the_corpus_recorded_last_counts() -> None:
    one, two = (made_by("new", corpus={"sha256": name}) for name in "ab")
    assert Evidence((one, two)).at("quick") == Evidence((two,))
    assert Evidence((two, one)).at("quick") == Evidence((one,))
