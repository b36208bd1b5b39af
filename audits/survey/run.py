"""One run of the survey: an architecture built and audited in a worker process, within limits of time and memory."""

from __future__ import annotations

import re
import resource
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from audits.auditor.audit import audit
from audits.evidence.code_hash import code_behind
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.jsonable import json_able
from audits.results import AuditResult
from audits.subject.settings import Settings, SubjectError
from audits.survey.library import Architecture, Library, NotBuiltError, find_library
from audits.survey.rows import NOT_BUILT, UNDETERMINED

# What these say about an architecture is part of the run's configuration, as its recipe.
NOT_HASHED = ("audits.survey.fixups",)
_INSTALLED = re.compile(r"[^\s'\"]*?/(?:site|dist)-packages/")


def experiment(
    library: Library, chosen: tuple[Architecture, ...], fed: Settings, *, seconds: float, memory: int
) -> Experiment:
    """The survey of a library's installed release: a run an architecture, each within `seconds` and `memory` bytes."""
    release = library.release()
    name = f"survey-{library.name}-" + re.sub(r"[^A-Za-z0-9]", "_", release)  # names in the ledger have no dots
    settings = {"library": library.name, "release": release, "seq_len": fed.seq_len, "batch": fed.batch}

    def spec(item: Architecture) -> RunSpec:
        described = {key: value for key, value in asdict(item).items() if value}
        return RunSpec(name, {**settings, **described, "recipe": library.recipe(item)}, fed.seed, item.name)

    specs = tuple(map(spec, chosen))
    return Experiment(
        name,
        lambda _: specs,
        partial(execute, memory),
        seconds=seconds,
        on_failure=failed_result,
        not_hashed=NOT_HASHED,
        fresh_process=library.fresh_process,
    )


def todays_code() -> str:
    """Today's hash of the code behind the runs of every survey."""
    return code_behind(execute, NOT_HASHED)


def execute(memory: int, spec: RunSpec, _: Options, progress: Progress) -> dict[str, Any]:
    """Build and audit; that a model cannot be built or does not take tokens alone is a result too."""
    config = spec.config
    library = find_library(config["library"])
    architecture = Architecture(config["name"], config["model"])
    with warnings.catch_warnings(), memory_at_most(memory):
        warnings.simplefilter("ignore")  # of the surveyed library
        try:
            tiny = library.build(architecture, config["recipe"], spec.seed)
        except NotBuiltError as problem:
            return {"verdict": NOT_BUILT, "reason": relative(str(problem))}
        try:
            result = audit(
                tiny.model,
                input="tokens" if tiny.width is None else "features",
                vocab_size=tiny.vocab_size,
                width=tiny.width,
                seq_len=config["seq_len"],
                batch=config["batch"],
                seed=spec.seed,
                target=f"audits.survey.targets.{library.name}:{architecture.name}",
                watch=lambda now: progress(now.forwards, now.expected, now.stage),
            )
        except SubjectError as problem:
            return {"verdict": NOT_BUILT, "reason": relative(f"built, but does not take tokens alone: {problem}")}
    return _document(result)


@contextmanager
def memory_at_most(more: int) -> Iterator[None]:
    """Limit the process to `more` bytes beyond what it has allocated: an architecture fails, and not the machine.

    No effect where the system does not report what is allocated.
    """
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more if hard < 0 else min(used + more, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def failed_result(error: str) -> dict[str, Any]:
    """The result of a run that exceeded a limit or ended its process."""
    return {"verdict": UNDETERMINED, "reason": relative(error)}


def relative(text: str) -> str:
    """The text without the folder into which packages are installed."""
    return _INSTALLED.sub("", text)


def _document(result: AuditResult) -> dict[str, Any]:
    """The audit as JSON, without what the record of the run contains already."""
    document = json_able(result.to_dict())
    for finding in document["findings"]:
        finding["file"] = finding["file"] and relative(finding["file"])
    for probe in document["probes"]:
        probe["why"] = relative(probe["why"])
        del probe["seconds"]
    return {key: document[key] for key in ("verdict", "findings", "probes", "settings")}
