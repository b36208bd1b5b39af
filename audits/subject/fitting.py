"""From a model and a contract to a model that probes can call: what each argument is fed is tried until the model runs.

Axes: B (rows), n (slots), S (slots of the output).
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor

from audits.formatting import error_text
from audits.subject.arguments import BANK, GIVEN, Argument, candidates
from audits.subject.call_convention import WELL_KNOWN, call_convention, signature
from audits.subject.contract import BEFORE, HELD, PADDING, PAST, SLOTTED, Contract, Inputs, Role
from audits.subject.contracted import Plan, contracted
from audits.subject.copying import copy_of
from audits.subject.hints import too_short
from audits.subject.layout import Clocks
from audits.subject.outputs import MAIN
from audits.subject.randomness import generator, pinned
from audits.subject.recognise import recognised
from audits.subject.settings import Settings, SubjectError
from audits.subject.snapshot import Snapshot

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
    plan = Fitting(model, contract, settings).plan()
    plan.clocks.check()
    return contracted(model, plan), replace(plan.fed(settings), seq_len=plan.clocks.length)


def _contract(model: Any, settings: Settings) -> tuple[Contract, int]:
    """The contract asked for, what it leaves open filled in from the one that the model is recognised by; and N."""
    contract = settings.contract or Contract()
    known = recognised(model)
    if known is None or contract.inputs:
        return contract, settings.seq_len
    return replace(known.contract, **contract.said()), known.seq_len(settings.seq_len)


class Fitting:
    """One model and the contract asked for; a copy of it is called with candidates for its arguments until one runs."""

    def __init__(self, model: Any, contract: Contract, settings: Settings) -> None:
        self.contract, self.settings = contract, settings
        try:
            self.parameters = dict(signature(model).parameters)
        except (TypeError, ValueError):
            self.parameters = dict(inspect.signature(lambda x: x).parameters)
        self.model, copied = copy_of(model, settings.device, None)
        self.snapshot = None if copied else Snapshot(self.model)

    def plan(self) -> Plan:
        """The plan with the first candidates that run.

        Raises:
            SubjectError: none do.
        """
        inputs = self.contract.inputs
        choices = [[one] for one in self._drawn(inputs)] if callable(inputs) else self._choices()
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
        unsure = next((options for options in choices if len(options) > 1), choices[-1])[0].name
        advice = too_short(str(error), self.model, self.settings) or f"of {unsure!r}, {HOW.format(name=unsure)}"
        raise SubjectError(
            f"the target could not be fed at length {self.settings.seq_len} with {given}, nor otherwise: "
            f"{error_text(error)}; {advice}"
        )

    def _roles(self) -> dict[str, Role]:
        """The role of every argument that is fed."""
        convention, roles = call_convention(self.model, self.settings.input), self.contract.roles()
        fixed = [p for p in self.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        first = convention.input_name or (fixed[0].name if fixed else "x")
        for name in {*roles, *self.contract.available} if not convention.any_keyword else ():
            if name not in self.parameters:
                raise SubjectError(f"the contract names {name!r}, but the target takes {', '.join(self.parameters)}")
        needed = first not in roles and (not fixed or self.parameters[first].default is inspect.Parameter.empty)
        if needed or not any(role.role in SLOTTED for role in roles.values()):
            size = () if self.settings.input == "tokens" else (self.settings.width or 1,)
            roles = {first: roles.get(first, Role(PAST, self.settings.input, size))} | roles
        for p in fixed:
            if p.default is p.empty and p.name not in {*roles, *WELL_KNOWN, first}:
                raise SubjectError(f"the target requires the argument {p.name!r}: {HOW.format(name=p.name)}")
        return roles

    def _choices(self) -> list[list[Argument]]:
        """What each argument may be fed."""
        fed = {name: role for name, role in self._roles().items() if role.role != PADDING}
        choices = {name: list(candidates(name, role, self.model, self.settings)) for name, role in fed.items()}
        if unknown := [name for name, found in choices.items() if not found]:
            hint = "give --vocab-size V, or the kind and size of the argument"
            raise SubjectError(f"the vocabulary of {unknown[0]!r} cannot be read from the target: {hint}")
        if not any(role.role in SLOTTED for role in fed.values()):
            raise SubjectError("every input is free or held, so nothing could leak: give one the role past or before")
        return list(choices.values())

    def _drawn(self, inputs: Inputs) -> list[Argument]:
        """The arguments that the contract's own function draws: those with as many slots as asked for are varied."""
        length, first = self.settings.seq_len, self.contract.input_axes[0]
        arguments = []
        for name, drawn in inputs(BANK, length, generator(self.settings.seed, "inputs")).items():
            value = torch.as_tensor(drawn)
            if not value.ndim or len(value) != BANK:
                raise SubjectError(
                    f"inputs(batch, length, generator) gave {name!r} of shape {list(value.shape)}: batch first"
                )
            timed = value.ndim > first and value.shape[first] == length
            role = (BEFORE if name in self.contract.available else PAST) if timed else HELD
            bank = value.movedim(first, 1) if timed else value[:, None]
            arguments.append(Argument(name, role, GIVEN, timed=timed, slots=None if timed else 1, bank=bank))
        if not any(argument.timed for argument in arguments):
            raise SubjectError(f"inputs(batch, length, generator) gave nothing with {length} slots on axis {first}")
        return arguments

    def _plan(self, arguments: tuple[Argument, ...]) -> Plan:
        slots = self.settings.seq_len
        varied = tuple(argument for argument in arguments if argument.varied)
        others = tuple(
            argument if argument.kind == "positions" else replace(argument, slots=argument.slots or slots)
            for argument in arguments
            if not argument.varied
        )
        clocks = Clocks(self.contract, {argument.name: argument.role for argument in varied}, slots, slots)
        plan = Plan(clocks, varied, others, tuple(self.parameters.values()), self.settings)
        given = self._given(plan, slots)
        shapes = {argument.name: list(given[argument.name].shape) for argument in varied}
        if all(len(shape) <= self.contract.input_axes[-1] for shape in shapes.values()):
            (name, shape), axis = next(iter(shapes.items())), self.contract.input_axis
            raise SubjectError(f"{name} is fed with shape {shape}, so no axis {axis}: give its width with --role")
        return replace(plan, clocks=replace(clocks, outputs=self._outputs(plan, given)))

    def _following(self, plan: Plan) -> Plan:
        """What is free keeps its length where a shorter sequence is accepted beside it, else it has the sequence's."""
        timed = [argument for argument in plan.others if argument.slots is not None and argument.timed]
        if not timed:
            return plan
        follow = replace(plan, others=tuple(replace(a, slots=None) if a in timed else a for a in plan.others))
        for each in (plan, follow):
            try:
                self._outputs(each, self._given(each, plan.clocks.slots - plan.clocks.slots // 2))
            except Exception:  # noqa: S112 - tried: the other way, or none
                continue
            return each
        return plan

    def _given(self, plan: Plan, slots: int) -> dict[str, Tensor]:
        """The arguments for so many slots."""
        device = torch.device(self.settings.device)
        return {a.name: plan.fixed(a, slots, self.model, device) for a in (*plan.varied, *plan.others)}

    def _outputs(self, plan: Plan, given: dict[str, Tensor]) -> int:
        """The number of slots of the main output [B, S, ...]."""
        with pinned(self.settings.seed), torch.no_grad():
            found = plan.outputs_of(plan.call(self.model, given, {}))[MAIN]
        if self.snapshot is not None:
            self.snapshot.restore()
        if found.ndim < 2 or not found.numel():
            raise SubjectError(f"the output has shape {list(found.shape)}: it needs rows and slots")
        return found.shape[1]
