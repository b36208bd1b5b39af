"""From a model and a contract to a model that probes can call: what each argument is fed is tried until the model runs.

Axes: B (rows), n (slots), S (slots of the output).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor

from audits.formatting import error_text
from audits.subject.arguments import BANK, GIVEN, Argument, candidates, varied
from audits.subject.call_convention import WELL_KNOWN, call_convention, signature
from audits.subject.contract import BEFORE, FREE, HELD, PADDING, PAST, Contract, Role
from audits.subject.contracted import Plan, contracted, raster
from audits.subject.copying import copy_of
from audits.subject.hints import too_short
from audits.subject.layout import Clocks
from audits.subject.outputs import MAIN
from audits.subject.packing import DOCUMENT_ARGUMENTS
from audits.subject.padding import ARGUMENTS
from audits.subject.randomness import generator, pinned
from audits.subject.recognise import recognised
from audits.subject.settings import Settings, SubjectError
from audits.subject.snapshot import Snapshot
from audits.subject.streaming import CACHES, OTHERS, SWITCHES

TRIED = 64  # ways of feeding a model, at most; our choice
HOW = "say what it is with --role {name}=past|before|free|held, with its kind where that helps: {name}=past:features:4"


def fitted(model: Any, settings: Settings) -> tuple[Any, Settings]:
    """The model under the contract of the settings, or under the one it is recognised by, and settings that fit to it.

    Raises:
        SubjectError: the contract names what the model has not, nothing could be judged, or it could not be fed.
    """
    if hasattr(model, "under_contract"):  # a copy with other weights, whose settings are those of the positions
        return model, settings
    contract, seq_len = _contract(model, settings)
    if contract.is_default():
        return model, settings
    settings = replace(settings, contract=contract, seq_len=seq_len)
    roles, parameters = _roles(model, settings)
    tried = Tries(model, settings, parameters)
    plan = tried.plan(_choices(roles, model, settings))
    plan.clocks.check()
    fed = replace(settings, seq_len=plan.clocks.length, input="features", width=plan.width, vocab_size=None)
    if plan.tokens:
        fed = replace(fed, input="tokens", width=None, vocab_size=plan.varied[0].size[0])
    return contracted(model, plan), fed


def _contract(model: Any, settings: Settings) -> tuple[Contract, int]:
    """The contract asked for, what it leaves open filled in from the one that the model is recognised by; and N."""
    contract = settings.contract or Contract()
    known = recognised(model)
    if known is None or contract.inputs:
        return contract, settings.seq_len
    return replace(known.contract, **contract.said()), known.seq_len(settings.seq_len)


def _roles(model: Any, settings: Settings) -> tuple[dict[str, Role], dict[str, inspect.Parameter]]:
    """The role of every argument that is fed, and the model's parameters."""
    contract = settings.contract
    assert contract is not None
    try:
        found = signature(model).parameters
    except (TypeError, ValueError):
        found = inspect.signature(lambda x: x).parameters
    parameters = dict(found)
    convention = call_convention(model, settings.input)
    fixed = [p for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    first = convention.input_name or (fixed[0].name if fixed else "x")
    roles = contract.roles()
    if callable(contract.inputs):
        return {}, parameters
    for name in {*roles, *contract.available} if not convention.any_keyword else ():
        if name not in parameters:
            raise SubjectError(f"the contract names {name!r}, but the target takes {', '.join(parameters)}")
    needed = first not in roles and (not fixed or parameters[first].default is inspect.Parameter.empty)
    if needed or not any(role.role in (PAST, BEFORE) for role in roles.values()):
        kind = ("tokens", ()) if settings.input == "tokens" else ("features", (settings.width or 1,))
        roles = {first: roles.get(first, Role(PAST, *kind))} | roles
    missing = [
        p.name for p in fixed if p.default is p.empty and p.name not in roles and p.name not in (*WELL_KNOWN, first)
    ]
    if missing:
        raise SubjectError(f"the target requires the argument {missing[0]!r}: {HOW.format(name=missing[0])}")
    return roles, parameters


def _choices(roles: Mapping[str, Role], model: Any, settings: Settings) -> list[list[Argument]]:
    """What each argument may be fed."""
    choices: list[list[Argument]] = []
    if settings.contract is not None and callable(settings.contract.inputs):
        return [[argument] for argument in _given(settings.contract, settings)]
    for name, role in roles.items():
        if role.role == PADDING:
            continue
        found = list(candidates(name, role, model, settings))
        if not found:
            hint = "give --vocab-size V, or the kind and size of the argument"
            raise SubjectError(f"the vocabulary of {name!r} cannot be read from the target: {hint}")
        choices.append(found)
    if not any(argument.role in (PAST, BEFORE) for found in choices for argument in found):
        raise SubjectError("every input is free or held, so nothing could leak: give one the role past or before")
    return choices


def _given(contract: Contract, settings: Settings) -> list[Argument]:
    """The arguments that the contract's own function draws: those with as many slots as were asked for are varied."""
    length, axis = settings.seq_len, contract.input_axis
    first = axis if isinstance(axis, int) else axis[0]
    assert callable(contract.inputs)
    drawn = contract.inputs(BANK, length, generator(settings.seed, "inputs"))
    arguments = []
    for name, value in drawn.items():
        value = torch.as_tensor(value)
        if not value.ndim or len(value) != BANK:
            raise SubjectError(
                f"inputs(batch, length, generator) gave {name!r} of shape {list(value.shape)}: batch first"
            )
        timed = value.ndim > first and value.shape[first] == length
        role = (BEFORE if name in contract.available else PAST) if timed else HELD
        bank = value.movedim(first, 1) if timed else value[:, None]
        arguments.append(Argument(name, role, GIVEN, timed=timed, slots=None if timed else 1, bank=bank))
    if not any(argument.timed for argument in arguments):
        raise SubjectError(f"inputs(batch, length, generator) gave nothing with {length} slots on axis {first}")
    return arguments


class Tries:
    """Calls of a copy of a model, with candidates for its arguments, until one runs."""

    def __init__(self, model: Any, settings: Settings, parameters: Mapping[str, inspect.Parameter]) -> None:
        assert settings.contract is not None
        self.settings, self.contract, self.parameters = settings, settings.contract, parameters
        self.model, copied = copy_of(model, settings.device, None)
        self.snapshot = None if copied else Snapshot(self.model)

    def plan(self, choices: list[list[Argument]]) -> Plan:
        """The plan with the first candidates that run.

        Raises:
            SubjectError: none do.
        """
        error: Exception | None = None
        for arguments in islice(product(*choices), TRIED):
            try:
                return self._following(self._plan(arguments))
            except SubjectError:
                raise
            except Exception as problem:
                error = error or problem
        assert error is not None
        given = ", ".join(f"{options[0].name}={options[0]}" for options in choices)
        open_ones = [options[0].name for options in choices if len(options) > 1] or [choices[-1][0].name]
        advice = too_short(str(error), self.model, self.settings)
        raise SubjectError(
            f"the target could not be fed at length {self.settings.seq_len} with {given}, nor otherwise: "
            f"{error_text(error)}; {advice or f'of {open_ones[0]!r}, {HOW.format(name=open_ones[0])}'}"
        )

    def _plan(self, arguments: tuple[Argument, ...]) -> Plan:
        slots = self.settings.seq_len
        changed = tuple(argument for argument in arguments if varied(argument))
        others = tuple(
            replace(argument, slots=argument.slots or slots) if argument.kind != "positions" else argument
            for argument in arguments
            if not varied(argument)
        )
        roles = {argument.name: argument.role for argument in changed}
        plan = Plan(
            contract=self.contract,
            clocks=Clocks(self.contract, roles, slots, slots),
            varied=changed,
            others=others,
            tokens=False,
            positional=tuple(p.name for p in self.parameters.values() if p.kind == p.POSITIONAL_ONLY),
            required=self._required(arguments),
            keywords=self._keywords(arguments),
            columns=None if isinstance(self.contract.input_axis, int) else raster(slots),
            settings=self.settings,
        )
        self._check_axis(plan)
        outputs = self._outputs(plan, slots).shape[1]
        plan = replace(plan, clocks=Clocks(self.contract, roles, slots, outputs))
        alone = len(changed) == 1 and changed[0].kind == "tokens" and plan.clocks.capacity == 1
        return replace(plan, tokens=alone)

    def _check_axis(self, plan: Plan) -> None:
        """Raise SubjectError where no argument has the axis on which the contract says that time lies."""
        axis, device = self.contract.input_axis, torch.device(self.settings.device)
        last = axis if isinstance(axis, int) else axis[1]
        shapes = {a.name: plan.fixed(a, plan.clocks.slots, self.model, device).shape for a in plan.varied}
        if all(len(shape) <= last for shape in shapes.values()):
            name, shape = next(iter(shapes.items()))
            raise SubjectError(f"{name} is fed with shape {list(shape)}, so no axis {axis}: give its width with --role")

    def _following(self, plan: Plan) -> Plan:
        """What is free keeps its length where a shorter sequence is accepted beside it, else it has the sequence's."""
        timed = [argument for argument in plan.others if argument.slots is not None and argument.timed]
        if not timed:
            return plan
        follow = replace(plan, others=tuple(replace(a, slots=None) if a in timed else a for a in plan.others))
        for each in (plan, follow):
            try:
                self._outputs(each, plan.clocks.slots - plan.clocks.slots // 2)
            except Exception:  # noqa: S112 - tried: the other way, or none
                continue
            return each
        return plan

    def _outputs(self, plan: Plan, slots: int) -> Tensor:
        """The main output [B, S, ...] for so many slots."""
        seed, device = self.settings.seed, torch.device(self.settings.device)
        with pinned(seed), torch.no_grad():
            given = {a.name: plan.fixed(a, slots, self.model, device) for a in (*plan.varied, *plan.others)}
            found = plan.outputs_of(plan.call(self.model, given, {}))[MAIN]
        if self.snapshot is not None:
            self.snapshot.restore()
        if found.ndim < 2 or not found.numel():
            raise SubjectError(f"the output has shape {list(found.shape)}: it needs rows and slots")
        return found

    def _required(self, arguments: tuple[Argument, ...]) -> tuple[str, ...]:
        fed = {argument.name for argument in arguments}
        return tuple(
            p.name
            for p in self.parameters.values()
            if p.default is p.empty and p.name in WELL_KNOWN and p.name not in fed
        )

    def _keywords(self, arguments: tuple[Argument, ...]) -> tuple[inspect.Parameter, ...]:
        """Parameters that probes may give: caches, and masks of the varied argument."""
        fed = {argument.name for argument in arguments}
        roles = self.contract.roles()
        offered = {*CACHES, *OTHERS, *SWITCHES, *DOCUMENT_ARGUMENTS, "cache_position"}
        padding = {name for name, role in roles.items() if role.role == PADDING} or set(ARGUMENTS)
        several = any(argument.role == FREE for argument in arguments)  # whose mask attention_mask may be
        if several and not set(roles) & padding:
            offered, padding = offered - {"attention_mask"}, {"decoder_attention_mask"}
        offered |= padding
        cache = (self.contract.cache or "").partition("=")[0]
        kept = (p for p in self.parameters.values() if p.name in {*offered, cache} and p.name not in fed)
        return tuple(p.replace(kind=p.KEYWORD_ONLY) for p in kept if p.kind != p.VAR_KEYWORD)
