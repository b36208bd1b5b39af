"""Every planted leak and its clean control: alike in all but the defect, reproducible, and without side effects."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import audits.leaks
from audits.leaks import all_leaks
from audits.leaks._planted import PlantedLeak, redrawn
from audits.results import LeakClass
from audits.subject.outputs import further_outputs

PLANTED = all_leaks()
MODULES = [m.name for m in pkgutil.iter_modules(audits.leaks.__path__) if not m.ispkg]
SHOWN_BY_PERTURBATION = (LeakClass.DENSE, LeakClass.SELECTION, LeakClass.STATISTIC)
CUTS = range(18, 26)  # never all at edges of chunks, whatever their size, and after the first two chunks of 8

# A batch leak shows or not as the rows that are changed together happen to lie; its own test changes one row.
# Random suffixes practically never draw four strong tokens that meet, or one token seven times.
RARE = ("conspiring_tokens", "counted_token")
SHOWN_WITHIN_ROWS = [leak for leak in PLANTED if leak.leak_class is not LeakClass.BATCH and leak.name not in RARE]
SHOWN_OTHERWISE = [leak for leak in PLANTED if leak.leak_class not in SHOWN_BY_PERTURBATION]

NO_HUB = [leak for leak in PLANTED if not leak.name.startswith("hub")]

each_leak = pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak.name)
each_version = pytest.mark.parametrize("version", ["leaky", "clean"])


def build(leak: PlantedLeak, version: str) -> nn.Module:
    model: nn.Module = getattr(leak, version)()
    return model.eval()


def draw(leak: PlantedLeak, rows: int, length: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if leak.width is not None:
        return torch.randn(rows, length, leak.width, generator=generator, dtype=torch.float64)
    return torch.randint(leak.vocab_size or 2, (rows, length), generator=generator)


def joined(output: Tensor | dict[str, Any], inputs: Tensor) -> Tensor:
    """All outputs of every position in one tensor."""
    return (
        output
        if isinstance(output, Tensor)
        else torch.cat([*further_outputs(output, inputs).values(), output["logits"]], -1)
    )


def padding_mask(leak: PlantedLeak, inputs: Tensor) -> dict[str, Tensor]:
    """The mask under which a leak of padding occurs; nothing for the others."""
    if leak.padded is None:
        return {}
    mask, length = torch.ones(inputs.shape, dtype=torch.int64), inputs.shape[1]
    mask[:, {"nowhere": slice(0), "left": slice(length // 3), "right": slice(-(length // 3), None)}[leak.padded]] = 0
    return {"attention_mask": mask}


def reinitialised(leak: PlantedLeak, version: str) -> nn.Module:
    """The model, with ones in its all-zero weights where they hide the leak."""
    model = build(leak, version)
    for weight in model.parameters() if leak.zero_initialized else ():
        if not weight.any():
            nn.init.ones_(weight)
    return model


@torch.no_grad()
def largest_change(leak: PlantedLeak, version: str) -> float:
    """The largest change before a cut when everything from the cut on is drawn again; every call has its own model."""
    autocast = leak.leaks_in == "autocast"
    worst, dtype = 0.0, torch.float32 if autocast else getattr(torch, leak.leaks_in or "float64")
    for cut in CUTS:
        inputs = draw(leak, 8, leak.seq_len, seed=cut)
        others = inputs.clone()
        others[:, cut:] = draw(leak, 8, leak.seq_len - cut, seed=1000 + cut)
        kwargs = padding_mask(leak, inputs) if leak.leak_class in SHOWN_BY_PERTURBATION else {}
        models = [reinitialised(leak, version).to(dtype) for _ in range(2)]
        pairs = zip(models, (inputs, others), strict=True)
        with torch.autocast("cpu", enabled=autocast):
            outputs = [joined(model(given, **kwargs), given)[:, :cut] for model, given in pairs]
        worst = max(worst, float((outputs[0] - outputs[1]).abs().max()))
    return worst


def test_every_leak_of_the_package_is_found():
    assert sorted(leak.name for leak in PLANTED) == sorted(name for name in MODULES if not name.startswith("_"))
    assert len(PLANTED) >= 40


def test_every_leak_class_is_planted():
    unplanted = set(LeakClass) - {leak.leak_class for leak in PLANTED}
    assert unplanted <= {LeakClass.UNKNOWN}


@each_leak
def test_a_leak_is_named_after_its_file(leak):
    assert importlib.import_module(f"audits.leaks.{leak.name}").LEAK is leak


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_leaks_documents_itself(name):
    doc = importlib.import_module(f"audits.leaks.{name}").__doc__
    assert doc
    assert doc.strip().splitlines()[0].endswith((".", ":"))


@each_leak
def test_a_leak_says_what_happens_where_it_happened_and_what_it_takes(leak):
    assert leak.mechanism.endswith(".")
    assert leak.origin
    assert (leak.vocab_size is None) != (leak.width is None)


@each_version
@each_leak
def test_a_factory_builds_the_same_weights_every_time(leak, version):
    first, second = build(leak, version).state_dict(), build(leak, version).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@each_version
@each_leak
def test_a_factory_leaves_the_global_random_state_untouched(leak, version):
    before = torch.get_rng_state()
    build(leak, version)
    assert torch.equal(torch.get_rng_state(), before)


@each_leak
def test_leaky_and_clean_version_have_the_same_parameters(leak):
    leaky, clean = dict(leak.leaky().named_parameters()), dict(leak.clean().named_parameters())
    assert {name: p.shape for name, p in leaky.items()} == {name: p.shape for name, p in clean.items()}


@pytest.mark.parametrize("leak", NO_HUB, ids=lambda leak: leak.name)
def test_without_the_hub_layer_the_defect_leaves_the_weights_alone(leak):
    leaky, clean = dict(leak.leaky().named_parameters()), dict(leak.clean().named_parameters())
    assert all(torch.equal(leaky[name], clean[name]) for name in leaky)


@each_version
@each_leak
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_outputs_are_finite_at_any_length_and_keep_the_dtype(leak, version, dtype):
    model = build(leak, version).to(dtype)
    for rows, length in ((1, 1), (3, 2), (2, 17), (1, leak.seq_len), (1, 64)):
        inputs = draw(leak, rows, length, seed=length)
        outputs = joined(model(inputs.to(dtype) if leak.width else inputs), inputs)
        assert outputs.shape[:2] == (rows, length)
        assert outputs.dtype == dtype
        assert outputs.isfinite().all()


@each_leak
def test_a_clean_version_does_not_depend_on_later_inputs(leak):
    assert largest_change(leak, "clean") <= 1e-12


@pytest.mark.parametrize("leak", SHOWN_WITHIN_ROWS, ids=lambda leak: leak.name)
def test_a_leaky_version_depends_on_later_inputs_exactly_where_its_class_says_so(leak):
    assert (largest_change(leak, "leaky") > 1e-10) == (leak.leak_class in SHOWN_BY_PERTURBATION)


@torch.no_grad()
@pytest.mark.parametrize("leak", SHOWN_OTHERWISE, ids=lambda leak: leak.name)
def test_a_leak_that_later_inputs_do_not_show_is_shown_by_the_change_of_its_class(leak):
    change = {
        LeakClass.LENGTH: shortened,
        LeakClass.BATCH: other_row,
        LeakClass.STATE: called_again,
        LeakClass.TRAINING_MODE: trained,
        LeakClass.DECODE: streamed,
        LeakClass.DOCUMENT: behind_another,
    }[leak.leak_class]
    assert change(leak, build(leak, "leaky").to(torch.float64)) > 1e-3
    assert change(leak, build(leak, "clean").to(torch.float64)) <= 1e-12


def shortened(leak: PlantedLeak, model: nn.Module) -> float:
    inputs = draw(leak, 1, leak.seq_len, seed=1)
    if leak.padded:  # padding in place of what follows
        return float((model(inputs) - model(inputs, **padding_mask(leak, inputs)))[:, :20].abs().max())
    return float((model(inputs)[:, :20] - model(inputs[:, :20])).abs().max())


def other_row(leak: PlantedLeak, model: nn.Module) -> float:
    inputs = draw(leak, 8, leak.seq_len, seed=1)
    if leak.padded:  # padding in place of other tokens
        masks = [padding_mask(leak, inputs)["attention_mask"], torch.ones_like(inputs)]
        mixed = torch.cat((masks[0][:1], masks[1][1:]))
        return float((model(inputs, attention_mask=mixed) - model(inputs, attention_mask=masks[1]))[1:].abs().max())
    others = torch.cat((draw(leak, 1, leak.seq_len, seed=2), inputs[1:]))
    return float((model(inputs) - model(others))[1:].abs().max())


def called_again(leak: PlantedLeak, model: nn.Module) -> float:
    inputs = draw(leak, 1, leak.seq_len, seed=1)
    first = model(inputs)
    for seed in range(2, 8):  # some leaks remember only calls that were longer, or show late
        model(draw(leak, 1, 2 * leak.seq_len, seed=seed))
    return float((first - model(inputs)).abs().max())


def trained(leak: PlantedLeak, model: nn.Module) -> float:
    inputs, others = draw(leak, 1, leak.seq_len, seed=1), draw(leak, 1, leak.seq_len, seed=2)
    others[:, :20] = inputs[:, :20]
    outputs = []
    for given in (inputs, others):
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            outputs.append(model.train()(given).detach())
    return float((outputs[0] - outputs[1])[:, :20].abs().max())


def behind_another(leak: PlantedLeak, model: nn.Module) -> float:
    """A document of 30 tokens behind one of 18, against itself alone; or what follows padding, behind other padding."""
    inputs = draw(leak, 1, 48, seed=1)
    if leak.padded:
        others = torch.cat((draw(leak, 1, 16, seed=2), inputs[:, 16:]), dim=1)
        one, two = (model(given, **padding_mask(leak, given)) for given in (inputs, others))
        return float((one - two)[:, 16:].abs().max())
    ways = {
        "cu_seqlens": torch.tensor([0, 18, 48], dtype=torch.int32),
        "seq_idx": torch.tensor([18 * [0] + 30 * [1]], dtype=torch.int32),
        "segment_ids": torch.tensor([18 * [1] + 30 * [2]]),
        "position_ids": torch.cat((torch.arange(18), torch.arange(30)))[None],
    }
    (name,) = ways.keys() & inspect.signature(model.forward).parameters.keys()
    return float((model(inputs, **{name: ways[name]})[:, 18:] - model(inputs[:, 18:])).abs().max())


def streamed(leak: PlantedLeak, model: nn.Module) -> float:
    inputs, state, pieces = draw(leak, 1, leak.seq_len, seed=1), None, []
    for piece in torch.split(inputs, 7, dim=1):
        outputs, state = model.stream(piece, state)
        pieces.append(outputs)
    return float((torch.cat(pieces, dim=1) - model(inputs)).abs().max())


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(("hub", "_hub"))])
def test_leaks_without_the_hub_layer_do_not_import_it(name):
    source = Path(importlib.import_module(f"audits.leaks.{name}").__file__).read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not any(name.split(".")[0] == "hubrouter" for name in imported)


@torch.no_grad()
@pytest.mark.parametrize("leak", [leak for leak in PLANTED if leak.zero_initialized], ids=lambda leak: leak.name)
def test_a_leak_behind_zero_weights_does_not_show_as_the_model_comes(leak):
    assert largest_change(replace(leak, zero_initialized=False), "leaky") == 0


@pytest.mark.parametrize("leak", [leak for leak in PLANTED if leak.leaks_in], ids=lambda leak: leak.name)
def test_a_leak_of_one_dtype_is_none_in_float64(leak):
    assert largest_change(replace(leak, leaks_in=None), "leaky") == 0
    assert largest_change(leak, "leaky") > 1e-3


@each_leak
def test_redrawn_weights_are_other_weights_alike_on_both_sides(leak):
    with redrawn(5):
        leaky, clean = (build(leak, version).state_dict() for version in ("leaky", "clean"))
    usual = build(leak, "leaky").state_dict()
    assert any(not torch.equal(leaky[name], usual[name]) for name in usual)
    if not leak.name.startswith("hub"):
        assert all(torch.equal(leaky[name], clean[name]) for name in dict(leak.leaky().named_parameters()))


# Every documented defect in public code that the leak corpus rebuilds: the mechanism, not the code.
IN_THE_WILD = (
    "tilde-research/nsa-release#3",
    "DSC-370M model card",
    "karpathy/nanochat#844",
    "huggingface/transformers#48748",
    "HKUSTDial/flash-sparse-attention#146",
    "dingo-actual/infini-transformer#4",
    "allenai/OLMoE#46",
    "sramshetty/mixture-of-depths#4",
    "causal-certificate README",
    "tatp22/linformer-pytorch#25",
    "lucidrains/hourglass-transformer-pytorch",
    "huggingface/transformers#31673",
    "rasbt/LLMs-from-scratch#1062",
    "karpathy/minGPT#75",
    "keras-team/keras#23038",
    "Wan-Video/Wan2.1#294",
    "huggingface/transformers#25104",
    "axolotl#3796",
    "peustr/wavenet#1",
    "Mikyx-1/TinyLLM#18",
    "arXiv:2604.22442, before the fix",
)


@pytest.mark.parametrize("origin", IN_THE_WILD)
def test_every_documented_defect_has_a_planted_leak(origin):
    assert any(origin in leak.origin for leak in PLANTED)
