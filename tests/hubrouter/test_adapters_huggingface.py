"""HubRouter inside real Llama and Jamba blocks: padding, caches, generation, training."""

from __future__ import annotations

import copy
import dataclasses

import adapted_models as models
import pytest
import torch

from hubrouter import ConfigError, HubRouter, RouterConfig
from hubrouter.adapters import AdapterError, HubAttention

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own
each_model = pytest.mark.parametrize("name", models.NAMES)
EXACT = {"rtol": 0, "atol": 1e-10}
# transformers' Mamba computes its recurrence in float32 whatever the model's dtype is.
ROUNDED = {"llama": EXACT, "jamba": {"rtol": 0, "atol": 1e-4}}


def left(lengths, width=11):
    """A mask with padding before rows of these lengths."""
    return torch.stack([torch.arange(width) >= width - length for length in lengths]).long()


def generate(model, ids, mask=None, **options):
    mask = torch.ones_like(ids) if mask is None else mask
    return model.generate(ids, attention_mask=mask, max_new_tokens=9, do_sample=False, **options)


@torch.no_grad()
@each_model
@pytest.mark.parametrize(("attention", "use_cache"), [("sdpa", True), ("eager", False)])
@pytest.mark.parametrize("mask", [left([6, 11, 3]), left([6, 11, 3]).flip(1)], ids=["left", "right"])
def test_a_padded_row_equals_a_single_row(name, use_cache, attention, mask):
    model, ids = models.adapted(name, attn_implementation=attention), models.tokens()
    together = model(ids, attention_mask=mask, use_cache=use_cache).logits
    for row, real in enumerate(mask.bool()):
        single = model(ids[row : row + 1, real]).logits[0]
        torch.testing.assert_close(together[row, real], single, **EXACT)


@torch.no_grad()
@each_model
@pytest.mark.parametrize("mask", [None, left([6, 11, 3])], ids=["full", "left"])
def test_decoding_with_a_cache_equals_one_pass(name, mask):
    model, ids = models.adapted(name), models.tokens(length=23)
    mask = None if mask is None else torch.cat([mask, torch.ones(3, 12, dtype=torch.long)], 1)
    whole = model(ids, attention_mask=mask, use_cache=False).logits
    step = model(ids[:, :11], attention_mask=None if mask is None else mask[:, :11], use_cache=True)
    parts = [step.logits]
    for end in range(12, 24):
        longer_mask = None if mask is None else mask[:, :end]
        step = model(
            ids[:, end - 1 : end], attention_mask=longer_mask, past_key_values=step.past_key_values, use_cache=True
        )
        parts.append(step.logits)
        assert step.past_key_values.get_seq_length() == end
    real = torch.ones(3, 23, dtype=torch.bool) if mask is None else mask.bool()
    torch.testing.assert_close(torch.cat(parts, 1)[real], whole[real], **ROUNDED[name])


@torch.no_grad()
def test_a_llama_continues_in_pieces_of_any_size():
    model, ids, mask = models.adapted("llama"), models.tokens(length=23), left([5, 23, 17], 23)
    whole, cache, parts, end = model(ids, attention_mask=mask, use_cache=False).logits, None, [], 0
    for size in (2, 7, 1, 4, 9):  # after the first two pieces a row has still seen nothing but padding
        end += size
        step = model(ids[:, end - size : end], attention_mask=mask[:, :end], past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        parts.append(step.logits)
    torch.testing.assert_close(torch.cat(parts, 1)[mask.bool()], whole[mask.bool()], **EXACT)


@torch.no_grad()
@each_model
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("mask", [None, left([6, 11, 3])], ids=["full", "left"])
def test_generate_gives_the_same_tokens_with_and_without_a_cache(name, beams, mask):
    model, ids = models.adapted(name), models.tokens()
    cached = generate(model, ids, mask, num_beams=beams, use_cache=True)
    assert torch.equal(cached, generate(model, ids, mask, num_beams=beams, use_cache=False))
    assert len(set(cached[:, 11:].flatten().tolist())) > 5  # no constant continuation


@torch.no_grad()
@pytest.mark.parametrize("layers", [None, [1], [0]])
@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_caches_of_both_kinds_serve_models_that_keep_some_attention(layers, kind):
    model, ids = models.plain("llama"), models.tokens()
    models.replace_attention(model, models.ROUTER, layers)
    mask = left([6, 11, 3])
    expected = generate(model, ids, mask, use_cache=False)
    assert torch.equal(generate(model, ids, mask, cache_implementation=kind), expected)


@torch.no_grad()
def test_a_cache_is_repeated_selected_copied_and_reset():
    model, ids = models.adapted("llama"), models.tokens(length=12)
    mask = left([6, 11, 3])
    cache = model(ids[:, :11], attention_mask=mask, use_cache=True).past_key_values
    kept = copy.deepcopy(cache)
    cache.batch_repeat_interleave(2)
    cache.batch_select_indices(torch.tensor([5, 0, 2]))
    rows = torch.tensor([2, 0, 1])
    longer_mask = torch.cat([mask, torch.ones(3, 1, dtype=torch.long)], 1)
    chosen = model(ids[rows, 11:], attention_mask=longer_mask[rows], past_key_values=cache).logits
    straight = model(ids[:, 11:], attention_mask=longer_mask, past_key_values=kept).logits
    torch.testing.assert_close(chosen, straight[rows], **EXACT)
    kept.reset()
    assert kept.get_seq_length() == 0
    torch.testing.assert_close(model(ids, past_key_values=kept).logits, model(ids, use_cache=False).logits, **EXACT)


@torch.no_grad()
def test_the_cache_does_not_grow_with_the_sequence():
    model = models.adapted("llama")
    sizes = []
    for length in (11, 203):
        cache = model(models.tokens(length=length), use_cache=True).past_key_values
        sizes.append(
            [part.untyped_storage().nbytes() for layer in cache.layers for part in layer.state.tensors().values()]
        )
    assert sizes[0] == sizes[1]
    assert all(layer.keys is None for layer in cache.layers)


@torch.no_grad()
def test_a_cache_cannot_be_cropped():
    model, ids = models.adapted("llama"), models.tokens()
    cache = model(ids, use_cache=True).past_key_values
    cache.crop(0)
    with pytest.raises(AdapterError, match="cannot crop its cache"):
        cache.crop(-1)
    assert not cache.is_croppable


@each_model
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_training_step_reaches_every_parameter_of_the_layer(name, checkpointing):
    model, ids, mask = models.adapted(name).train(), models.tokens(), left([6, 11, 3])
    if checkpointing:
        model.gradient_checkpointing_enable()
    labels = ids.masked_fill(mask == 0, -100)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    before = model(ids, attention_mask=mask, labels=labels).loss
    before.backward()
    inside = [
        (n, p) for module in model.modules() if isinstance(module, HubAttention) for n, p in module.named_parameters()
    ]
    assert inside
    assert [n for n, p in inside if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()] == []
    optimizer.step()
    assert model(ids, attention_mask=mask, labels=labels).loss < before


@each_model
def test_gradient_checkpointing_changes_no_gradient(name):
    ids, gradients = models.tokens(), []
    for checkpointing in (False, True):
        model = models.adapted(name).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(ids, labels=ids).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@torch.no_grad()
@each_model
def test_weights_are_saved_and_loaded(name, tmp_path):
    model, ids = models.adapted(name), models.tokens()
    for parameter in model.parameters():
        parameter.add_(0.01)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = models.adapted(name)
    assert (other(ids).logits - model(ids).logits).abs().max() > 1e-3
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert torch.equal(other(ids).logits, model(ids).logits)


@each_model
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_trains_and_decodes(name, dtype):
    model, ids, mask = models.adapted(name).to(dtype), models.tokens(), left([6, 11, 3])
    output = model(ids, attention_mask=mask, labels=ids)
    output.loss.backward()
    assert output.logits.dtype == dtype
    assert output.logits.isfinite().all()
    assert generate(model, ids, mask).shape == (3, 20)


@torch.no_grad()
def test_a_bidirectional_layer_reads_one_pass_and_refuses_the_next():
    model, ids = models.adapted("llama", dataclasses.replace(models.ROUTER, causal=False)), models.tokens()
    first = model(ids, use_cache=True)
    torch.testing.assert_close(first.logits, model(ids, use_cache=False).logits, **EXACT)
    with pytest.raises(ConfigError, match="cannot stream"):
        model(ids[:, :1], past_key_values=first.past_key_values)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 4, 7])
def test_the_module_equals_the_layer(length):
    router = HubRouter(RouterConfig(8, n_heads=2, chunk=4))
    x = torch.randn(2, length, 8)
    output, weights = HubAttention(router)(x)
    assert weights is None
    assert torch.equal(output, router(x))


def cache_of(**options):
    return models.transformers.DynamicCache(**options)


@torch.no_grad()
def test_what_is_not_supported_is_refused_in_one_line():
    layer, x = HubAttention(RouterConfig(8, n_heads=2, chunk=4), 0), torch.randn(2, 5, 8)
    documents = torch.tensor([[0, 1, 2, 0, 1]])
    used = cache_of()
    used.update(torch.ones(2, 1, 5, 4), torch.ones(2, 1, 5, 4), 0)
    refused = [
        ({"position_ids": documents}, "packed documents"),
        ({"cu_seq_lens_q": torch.tensor([0, 5])}, "packed documents"),
        ({"past_key_values": used}, "holds keys of another model"),
        ({"past_key_values": ((1, 2),)}, "a transformers Cache with `layers` is needed"),
        ({"past_key_values": models.transformers.DynamicCache(config=sliding())}, "sliding window"),
    ]
    for arguments, why in refused:
        with pytest.raises(AdapterError, match=why) as error:
            layer(x, **arguments)
        assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match=r"unexpected arguments \['atention_mask'\]"):
        layer(x, atention_mask=None)
    with pytest.raises(AdapterError, match="needs a layer_idx"):
        HubAttention(layer.router)(x, past_key_values=cache_of())


def sliding():
    return models.transformers.AutoConfig.for_model("mistral", num_hidden_layers=1, sliding_window=4)


@torch.no_grad()
def test_a_cache_of_other_rows_is_refused():
    model, ids = models.adapted("llama"), models.tokens()
    cache = model(ids, use_cache=True).past_key_values
    with pytest.raises(AdapterError, match="the cache has 3 rows, and 2 are to be continued"):
        model(ids[:2, :1], past_key_values=cache)


@torch.no_grad()
def test_a_mask_that_contradicts_the_cache_is_refused():
    model, ids = models.adapted("llama"), models.tokens(length=12)
    cache = model(ids[:, :11], attention_mask=left([6, 11, 3]), use_cache=True).past_key_values
    longer_mask = torch.cat([left([7, 11, 3]), torch.ones(3, 1, dtype=torch.long)], 1)
    with pytest.raises(
        AdapterError, match=r"marks \[7, 11, 3\] earlier tokens as real, and the cache has \[6, 11, 3\]"
    ):
        model(ids[:, 11:], attention_mask=longer_mask, past_key_values=cache)
