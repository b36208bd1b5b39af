"""The survey: configurations shrunk, architectures audited, verdicts reviewed, tables rebuilt from the evidence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from audits.cli.survey import exit_code, rebuild_surveys
from audits.evidence import code_hash
from audits.evidence.definitions import ROOT
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Ledger, Record
from audits.evidence.runner import gather
from audits.report.survey.files import survey_texts
from audits.report.survey.prose import tally_sentence
from audits.subject.settings import Settings
from audits.survey import run
from audits.survey.library import Architecture, Library, NotBuiltError, TinyModel
from audits.survey.reviews import Review, Status, review_of, reviewed
from audits.survey.rows import Code, Survey, surveys
from audits.survey.shrink import shrunk

GIB = 2**30
TODAY = "0123456789abcdef"


class Config:
    """What a library's configuration class looks like."""

    attribute_map = {"experts": "num_experts"}  # noqa: RUF012 - as the libraries have it

    def __init__(self, hidden_size: int = 4096, layer_types: list[str] | None = None, experts: int = 64, **rest: Any):
        self.hidden_size = hidden_size
        self.num_hidden_layers = rest.get("num_hidden_layers", 6)
        self.layer_types = layer_types or ["linear", "linear", "full", "linear", "linear", "full"]
        self.num_experts = experts
        self.head_dim = hidden_size // 4
        self.rope_parameters = {"original_max_position_embeddings": 4096}
        self.pad_token_id = 1000
        self.text_config = rest.get("part")

    def to_dict(self) -> dict[str, Any]:
        return vars(self)

    def to_json_string(self) -> str:
        return json.dumps(self.to_dict())


class Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(16, 8), nn.Linear(8, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        return self.head(hidden.cumsum(1) / torch.arange(1, hidden.shape[1] + 1)[:, None])


class Bidirectional(Causal):
    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        return self.head(hidden + hidden.mean(1, keepdim=True))


class NeedsAnImage(Causal):
    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        return self.head(self.embedding(tokens) + image)


MODELS = {"bidirectional": Bidirectional, "causal": Causal, "needs-an-image": NeedsAnImage}


def build(architecture: Architecture, recipe: dict[str, Any], seed: int) -> TinyModel:
    if architecture.name not in MODELS:
        raise NotBuiltError("needs /opt/venv/lib/python3.11/site-packages/pillow/x.py")
    torch.manual_seed(seed)
    return TinyModel(MODELS[architecture.name](), 16)


NAMES = (*MODELS, "unbuildable")
TOY = Library(
    "toy", lambda: "1.2", lambda: tuple(Architecture(name, name.title()) for name in NAMES), lambda _: {}, build
)


@pytest.fixture
def survey(monkeypatch: pytest.MonkeyPatch) -> Survey:
    monkeypatch.setattr(run, "find_library", lambda name: TOY)
    return surveys(
        evidence(),
        [Review("toy", ("bidirectional",), "LEAK", Status.BY_DESIGN, "on purpose", ("dense", "statistic"))],
        TODAY,
    )[0]


def evidence() -> Evidence:
    made = run.experiment(TOY, TOY.architectures(), Settings(seq_len=12, batch=8), seconds=60, memory=8 * GIB)
    specs = made.runs(Options())
    results = [made.execute(spec, Options(), lambda done, total, note="": None) for spec in specs]
    return Evidence(
        tuple(Record(s.experiment, s.config, s.seed, r, {}, 0.5) for s, r in zip(specs, results, strict=True))
    )


def verdicts(survey: Survey) -> dict[str, str]:
    return {row.name: row.verdict for row in survey.rows}


def test_sizes_are_shrunk_by_their_names_and_what_follows_from_them_is_left_to_the_class() -> None:
    small = shrunk(Config(), {})
    assert small["hidden_size"] == 32
    assert small["num_experts"] == 4
    assert small["pad_token_id"] == 0
    assert "head_dim" not in small


def test_one_layer_of_each_kind_is_kept() -> None:
    assert shrunk(Config(), {})["layer_types"] == ["linear", "full"]
    alike = shrunk(Config(layer_types=["full"] * 6), {})
    assert alike["layer_types"] == ["full", "full"]
    assert alike["num_hidden_layers"] == 2


def test_parts_are_shrunk_too_and_fixups_count_most() -> None:
    small = shrunk(Config(part=Config()), {"experts": 3, "text_config": {"hidden_size": 16}})
    assert small["text_config"]["hidden_size"] == 16
    assert small["text_config"]["num_experts"] == 4
    assert small["experts"] == 3


def test_every_architecture_gets_a_verdict_and_none_is_passed_without_a_run(survey: Survey) -> None:
    assert verdicts(survey) == {
        "bidirectional": "LEAK",
        "causal": "PASS",
        "unbuildable": "NOT_BUILT",
        "needs-an-image": "NOT_BUILT",
    }
    reasons = {row.name: row.reason for row in survey.rows}
    assert "image" in reasons["needs-an-image"]
    assert "pillow" in reasons["unbuildable"]


def test_no_folder_of_the_machine_enters_the_evidence(survey: Survey) -> None:
    reason = next(row.reason for row in survey.rows if row.name == "unbuildable")
    assert reason == "needs pillow/x.py"


def test_the_exit_code_tells_an_unexplained_leak_from_what_is_only_open(survey: Survey) -> None:
    rows = {row.name: row for row in survey.rows}
    assert exit_code([rows["causal"], rows["bidirectional"]]) == 0
    assert exit_code([rows["causal"], rows["unbuildable"]]) == 3
    assert exit_code([rows["unbuildable"], msgspec.structs.replace(rows["bidirectional"], review=None)]) == 1


def test_a_review_explains_only_what_it_names() -> None:
    review = Review("toy", ("a",), "LEAK", Status.DEFECT, "why", ("dense",), releases=">=4.30,<5")
    asked = {"library": "toy", "release": "4.57.1", "name": "a", "verdict": "LEAK", "leak_classes": ("dense",)}
    assert review_of([review], **asked) is review  # type: ignore[arg-type]
    for other in (
        {"library": "other"},
        {"release": "5.0.0"},
        {"name": "b"},
        {"verdict": "UNDETERMINED"},
        {"leak_classes": ("dense", "state")},
    ):
        assert review_of([review], **(asked | other)) is None  # type: ignore[arg-type]


def test_the_reviewed_file_reads_and_gives_every_reason() -> None:
    assert all(len(review.reason) > 20 and review.names for review in reviewed())


def test_a_reviewed_defect_is_shown_on_a_page_that_exists_or_was_confirmed_by_hand() -> None:
    for review in (review for review in reviewed() if review.status in (Status.DEFECT, Status.FIXED)):
        page = review.reason.rpartition(" ")[2]
        assert "confirmed by hand" in review.reason or (ROOT / page).is_file(), review.reason


def test_a_verdict_of_no_model_is_reviewed_as_that_and_only_a_leak_as_a_defect_or_a_design() -> None:
    kinds = {
        "LEAK": {Status.DEFECT, Status.FIXED, Status.BY_DESIGN},
        "NOT_BUILT": {Status.NOT_BUILT},
        "UNDETERMINED": {Status.UNDECIDED, Status.BY_DESIGN},
    }
    assert all(review.status in kinds[review.verdict] for review in reviewed())


def test_the_tables_tell_leaks_by_design_from_defects(survey: Survey) -> None:
    assert tally_sentence(survey).startswith("4 architectures and variants: 1 LEAK (1 by design), 2 NOT BUILT")
    leak = next(row for row in survey.rows if row.verdict == "LEAK")
    unexplained = replace(survey, rows=(leak, msgspec.structs.replace(leak, review=None)))
    assert "2 LEAK (1 by design, 1 not reviewed)" in tally_sentence(unexplained)
    counted = re.findall(r"<b>(\d+)</b><span>(.*?)</span>", survey_texts(survey)["html"])
    assert [mark for number, mark in counted if number == "0"] == ["✗ LEAK: defect", "✗ LEAK: not reviewed"]
    assert ("1", "✗ LEAK: by design") in counted
    models = {model["name"]: model["status"] for model in json.loads(survey_texts(survey)["json"])["models"]}
    assert models["bidirectional"] == "by design"
    assert models["causal"] is None


def test_a_review_of_a_package_holds_for_its_own_release(survey: Survey) -> None:
    config = {"library": "toy", "release": "2026.11", "name": "a", "model": "A", "package": "shelf==1.4", "seq_len": 8}
    record = Record("survey-toy", config, 0, run.failed_result("slow"), {}, 1.0)
    for releases, found in (("<1.5", True), (">=2026", False)):
        review = Review("toy", ("a",), "UNDETERMINED", Status.UNDECIDED, "slow", releases=releases)
        assert surveys(Evidence((record,)), [review], TODAY)[0].rows[0].as_reviewed is found


def test_a_review_with_an_unknown_key_is_refused() -> None:
    entry = {"library": "toy", "names": ["a"], "nmaes": ["a"], "verdict": "LEAK", "status": "defect", "reason": "typo"}
    with pytest.raises(msgspec.ValidationError, match="nmaes"):
        msgspec.convert(entry, Review)


def test_the_document_holds_what_the_contract_promises(survey: Survey) -> None:
    document = json.loads(survey_texts(survey)["json"])
    assert len(document["models"]) == len(survey.rows)
    assert document["schema"] == 1
    models = {model["name"]: model for model in document["models"]}
    assert {"name", "verdict", "leak_class", "file", "line", "reason"} <= set(models["causal"])
    assert models["bidirectional"]["leak_class"] in ("dense", "statistic")
    assert models["bidirectional"]["file"].endswith("test_survey.py")
    assert models["bidirectional"]["line"] > 0
    assert models["causal"]["leak_class"] is None


def test_tables_name_the_unexplained_first_and_escape_what_they_show(survey: Survey) -> None:
    page, text = survey_texts(survey)["html"], survey_texts(survey)["md"]
    assert "✗ LEAK: by design" in page
    assert "✗ LEAK: by design | `bidirectional` Bidirectional" in text
    assert "on purpose" in page
    assert "on purpose" in text
    assert text.index("needs-an-image") < text.index("bidirectional")
    assert "**PASS:** `causal`." in text
    assert "script-src 'sha256-" in page
    hostile = replace(survey, rows=(msgspec.structs.replace(survey.rows[0], name="<img>|`", verdict="LEAK"),))
    assert "<img>" not in survey_texts(hostile)["html"]
    assert "<img>|" not in survey_texts(hostile)["md"]


def test_a_review_links_to_the_page_of_its_finding_and_names_break_between_their_words_only(survey: Survey) -> None:
    reason = "a mask | too wide: docs/findings/doge-mask.md; see the other"
    review = Review("toy", ("bidirectional",), "LEAK", Status.DEFECT, reason, ("dense", "statistic"))
    row = msgspec.structs.replace(survey.rows[0], review=review, model="DogeForCausalLM", package="shelf==1.0")
    texts = survey_texts(replace(survey, rows=(row,)))
    assert 'too wide: <a href="../../docs/findings/doge-mask.md">doge-mask</a>; see the other' in texts["html"]
    assert "a mask \\| too wide: [doge-mask](../../docs/findings/doge-mask.md); see the other" in texts["md"]
    assert "Doge<wbr>For<wbr>Causal<wbr>LM (shelf==1.0)" in texts["html"]
    assert "DogeForCausalLM (shelf==1.0)" in texts["md"]


def test_the_filter_offers_the_kinds_that_rows_have(survey: Survey) -> None:
    page = survey_texts(survey)["html"]
    offered = re.findall(r'<input type="checkbox" value="(.*?)">', page)
    assert set(offered) == set(re.findall(r'data-kind="(.*?)"', page))


def test_of_several_runs_of_an_architecture_the_latest_counts(survey: Survey) -> None:
    first = Record(
        "survey-toy-1_2",
        {"library": "toy", "release": "1.2", "name": "a", "model": "A", "seq_len": 8},
        0,
        run.failed_result("slow"),
        {},
        1.0,
    )
    second = replace(first, config=first.config | {"seq_len": 9}, result={"verdict": "PASS", "probes": []})
    assert surveys(Evidence((first, second)), [], TODAY)[0].rows[0].verdict == "PASS"


def test_a_run_is_recorded_with_the_code_behind_it_and_is_not_repeated_while_that_is_todays(tmp_path: Path) -> None:
    made = run.experiment(TOY, TOY.architectures()[:1], Settings(seq_len=12, batch=8), seconds=60, memory=8 * GIB)
    (record,) = gather([made], Options(), Ledger(tmp_path), console=Console(quiet=True)).evidence.records
    assert "audits.survey.libraries.toy" in record.result["reason"]  # a worker process knows no such library
    assert record.code == run.todays_code()
    assert gather([made], Options(), Ledger(tmp_path), console=Console(quiet=True)).evidence.records == (record,)


def test_the_code_behind_a_run_is_that_of_the_library_and_of_the_audit_but_not_the_table_its_recipe_comes_from() -> (
    None
):
    root = code_hash.definition(partial(run.execute, GIB))
    behind = {node.module for node in code_hash._reached(root, frozenset(run.NOT_HASHED))}
    assert {"audits.survey.libraries.transformers", "audits.survey.shrink", "audits.probes.decode"} <= behind
    assert not set(run.NOT_HASHED) & behind


def test_rows_whose_code_is_unknown_or_not_todays_are_marked(survey: Survey) -> None:
    codes = {"bidirectional": "", "causal": TODAY, "needs-an-image": "fedcba9876543210", "unbuildable": TODAY}
    records = [replace(record, code=codes[record.config["name"]]) for record in evidence().records]
    (marked,) = surveys(Evidence(tuple(records)), [], TODAY)
    assert [row.code for row in marked.rows] == [Code.UNKNOWN, Code.CURRENT, Code.EARLIER, Code.CURRENT]
    assert {model["code"] for model in json.loads(survey_texts(survey)["json"])["models"]} == {"unknown"}
    models = json.loads(survey_texts(marked)["json"])["models"]
    assert [model["code"] for model in models] == [row.code for row in marked.rows]
    sentence = "current: 2; earlier: 1; unknown: 1"
    assert sentence in survey_texts(marked)["html"]
    assert sentence in survey_texts(marked)["md"]
    assert '<td data-label="code">earlier</td>' in survey_texts(marked)["html"]
    assert "| unknown |" in next(line for line in survey_texts(marked)["md"].splitlines() if "`bidirectional`" in line)


def test_tables_are_rebuilt_from_the_evidence_byte_for_byte(survey: Survey, tmp_path: Path) -> None:
    for record in evidence().records:
        Ledger(tmp_path / "evidence").append(record)
    rebuild_surveys(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("toy-1.2.*")}
    assert set(before) == {"toy-1.2.json", "toy-1.2.md", "toy-1.2.html"}
    for name in before:
        (tmp_path / name).unlink()
    rebuild_surveys(tmp_path)
    assert before == {file.name: file.read_bytes() for file in tmp_path.glob("toy-1.2.*")}


def test_a_model_that_allocates_too_much_fails_alone() -> None:
    with pytest.raises((MemoryError, RuntimeError)), run.memory_at_most(GIB):
        torch.empty(4 * GIB, dtype=torch.uint8)
    assert torch.empty(8).numel() == 8
