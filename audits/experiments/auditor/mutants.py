"""Mutants: faults injected into architectures of transformers, which nobody planted and no probe was written for.

A run takes one architecture and injects faults one after the other, each at a submodule drawn by the seed. Brute force
decides in which circumstances a mutant leaks; the auditor then says what it finds. A fault that shows in none of them
at any site tried (it alters nothing there) makes no mutant.
"""

from __future__ import annotations

import copy
import random
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from audits.auditor.audit import audit
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.auditor._brute_force import Trial, live
from audits.leaks._mutation import FAULTS, inject, sites
from audits.survey.library import TinyModel, find_library

NAME = "mutants"
LENGTH = 40
BATCH = 8
TRIES = 4  # sites tried for one fault
# Spread over the families that the survey of transformers 5.23.0 passes; those that take minutes are left out.
_NAMES = """
afmoe apertus aria_text bart biogpt blenderbot bloom cohere cohere2_moe ctrl deepseek_v2 diffllama emu3 ernie4_5_moe
exaone_moe flex_olmo fuyu gemma2 gemma3_text git glm4 glm4_moe_lite gpt-sw3 gpt_bigcode gpt_neox gpt_oss granite
granitemoe granitemoehybrid helium hunyuan_v1_dense internlm3 jetmoe llama longcat_flash marian mellum minicpm3
ministral3 mistral mixtral modernbert-decoder mpt musicgen_melody nanochat olmo olmo3 olmoe opt persimmon phi3 phimoe
qwen2 qwen3 qwen3_5_moe qwen3_5_text qwen3_next seed_oss solar_open starcoder2 vaultgemma xglm youtu
"""
ARCHITECTURES = tuple(_NAMES.split())
MUTANTS = {"full": 4, "paper": len(FAULTS)}  # of an architecture; none in `quick`, which needs no transformers


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run an architecture."""
    count = MUTANTS.get(options.tier, 0)
    shared = {"library": "transformers", "mutants": count, "length": LENGTH}
    return tuple(
        RunSpec(NAME, {"name": name, **shared}, number, f"mutants of {name}")
        for number, name in enumerate(ARCHITECTURES if count else ())
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Faults in an order drawn by the seed until enough of them show; without a fault the model is audited too."""
    del options
    library = find_library(spec.config["library"])
    architecture = next(a for a in library.architectures() if a.name == spec.config["name"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library
        tiny = library.build(architecture, library.recipe(architecture), spec.seed)
        verdict = str(_audited(tiny.model, tiny, spec.seed)["verdict"])
        faults, found = list(FAULTS), list[dict[str, Any]]()
        random.Random(spec.seed).shuffle(faults)  # noqa: S311 - no secret
        for name in faults:
            if len(found) < spec.config["mutants"]:
                progress(len(found), spec.config["mutants"], name)
                found += mutant(tiny, name, spec)
    return {"release": library.release(), "clean": verdict, "mutants": found}


def mutant(tiny: TinyModel, name: str, spec: RunSpec) -> list[dict[str, Any]]:
    """A fault at the first site drawn where brute force sees it, and what the auditor says; none where it sees none."""
    trial = Trial(tiny.vocab_size or 2, int(spec.config["length"]), logits, stepped(tiny.model), spec.seed)
    at = sites(tiny.model, lambda model: logits(model, trial.draw(1, 0)), trial.length)
    if FAULTS[name].during is not None:  # most submodules call nothing that it alters
        at = tuple(site for site in at if _changes(trial, tiny.model, faulty(tiny.model, site, name)))
    for site in random.Random(f"{name} {spec.seed}").sample(at, min(TRIES, len(at))):  # noqa: S311
        model = faulty(tiny.model, site, name)
        shown = live(trial, tiny.model, model)
        if shown:
            return [{"fault": name, "site": site, "live": shown, **_audited(model, tiny, spec.seed)}]
    return []


def faulty(model: nn.Module, site: str, name: str) -> nn.Module:
    """A copy with the fault at a submodule."""
    mutated = copy.deepcopy(model)
    inject(mutated, site, FAULTS[name])
    return mutated


def _changes(trial: Trial, model: nn.Module, mutated: nn.Module) -> bool:
    tokens = trial.draw(1, 0)
    return not torch.equal(logits(model, tokens), logits(mutated, tokens))


@torch.no_grad()
def logits(model: nn.Module, tokens: Tensor) -> Tensor:
    """One forward pass."""
    found: Tensor = model(input_ids=tokens, use_cache=False).logits
    return found


def stepped(model: nn.Module) -> Any:
    """Token by token through the cache, where the architecture keeps one under the usual name."""
    with torch.no_grad():
        try:
            cached = model(input_ids=torch.zeros(1, 2, dtype=torch.long), use_cache=True)
        except Exception:
            return None
    return _steps if getattr(cached, "past_key_values", None) is not None else None


def _steps(model: nn.Module, tokens: Tensor) -> Tensor:
    past, found = None, []
    for token in tokens.split(1, dim=1):
        output = model(input_ids=token, past_key_values=past, use_cache=True)
        past = output.past_key_values
        found.append(output.logits)
    return torch.cat(found, 1)


def _audited(model: nn.Module, tiny: TinyModel, seed: int) -> dict[str, Any]:
    result = audit(copy.deepcopy(model), vocab_size=tiny.vocab_size, seq_len=LENGTH, batch=BATCH, seed=seed)
    return {
        "verdict": str(result.verdict),
        "found": sorted({str(finding.leak_class) for finding in result.findings}),
        "forwards": sum(probe.forwards for probe in result.probes),
    }


EXPERIMENT = Experiment(
    NAME,
    runs,
    execute,
    seconds=900.0,
    on_failure=lambda why: {"failed": why},
    not_compared=("mutants.*.forwards",),
    tolerance=0.02,  # of effects, of which three digits are kept
)
