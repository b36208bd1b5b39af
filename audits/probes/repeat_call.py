"""Repeat call: an earlier call must leave no state behind, and no call may write into its input."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from audits.instruments.differences import judge_calls
from audits.instruments.noise_floor import CALLS, comparable, max_abs_diff, noise_of, scale_of
from audits.instruments.probe import Probe, Report, Violation, failed_control, undetermined
from audits.results import CALLERS_INPUT, Site, Verdict
from audits.subject.outputs import as_sequence
from audits.subject.randomness import generator
from audits.subject.subject import Subject

SHORT = 8  # an eighth of the sequence is a short call; our choice
MANY = 8  # calls after which what builds up should show; our choice


def run(subject: Subject) -> Report:
    """f(x), then other calls, then f(x) again, without restoring the model in between.

    The calls in between: the same input, another one, a longer, a shorter, several rows, and many of several lengths;
    and between calls of the first few tokens alone, the whole sequence, since what a long call changes may be read by
    short calls only. No call may write into the input that it is given. Positive control: another input must give
    another output.
    """
    report, written = _repeated(subject), _written(subject)
    if written is None:
        return report
    why = f"{written.changed} was changed by a call, at position {written.sink.position} by {written.effect:.3g}"
    more = f"; {report.why}" if report.verdict is Verdict.LEAK else ""
    return Report(Verdict.LEAK, f"{why}{more}", (written, *report.violations))


def _written(subject: Subject) -> Violation | None:
    """What a call in evaluation or training mode wrote into its input, which the caller may use again."""
    differences = [torch.zeros(subject.settings.seq_len, dtype=torch.float64)]

    def compared(model: Any, given: Tensor) -> Any:
        before = as_sequence(given.clone(), given)
        output = subject.convention(model, given)
        differences.append(max_abs_diff(before, as_sequence(given, given))[0].cpu())
        return output

    for training in (False, True) if subject.module is not None else (False,):
        with contextlib.suppress(Exception):  # other probes report what raises
            subject.call(compared, subject.base(), training=training)
    worst = torch.stack(differences).amax(0)
    if not worst.any():
        return None
    site = Site(int(worst.argmax()), 0)
    return Violation(Site(), site, float(worst.max()), 0.0, changed=CALLERS_INPUT)


def _repeated(subject: Subject) -> Report:
    """What earlier calls change."""
    base = subject.base()
    short = base[:, : max(1, base.shape[1] // SHORT)]
    between = _between(subject, base)
    pairs = {name: (base, others) for name, others in between.items()}
    pairs[f"the whole sequence (its first {short.shape[1]} positions)"] = (short, [base])
    first = subject.run(base)
    if not comparable(first):
        return undetermined("the outputs hold NaN or infinite numbers")
    if not float(max_abs_diff(first, subject.run(*between["another sequence"])).max()):
        return failed_control("another input gives the same output")
    noise = _noise(subject, base)
    differences = {name: found for name, pair in pairs.items() if (found := _after(subject, *pair)) is not None}
    name = max(differences, key=lambda key: float(differences[key].max()))

    def measure(other: Subject) -> Tensor:
        found = _after(other, *pairs[name])
        return torch.zeros(1) if found is None else found

    judged = judge_calls(subject, measure, differences[name], scale=scale_of(first), same_shape=True, noise=noise)
    inputs, others = pairs[name]
    judged = judged.having(calls=(inputs, *others))
    effect = judged.violation.effect
    return judged.report(
        f"after a call with {name} the same input gives outputs that differ by {effect:.3g}",
        f"the same output after {', '.join(differences)}",
        f"after {name} the output differs by {effect:.1e}, perhaps by rounding alone",
    )


def _noise(subject: Subject, base: Tensor) -> float:
    """How far calls differ that follow equal calls, which cannot be state; 0 for a deterministic subject."""
    if noise_of(subject) == 0:
        return 0.0
    subject.run(base)
    outputs = [subject.run(base) for _ in range(CALLS)]
    return 4 * max(float(max_abs_diff(outputs[0], other).max()) for other in outputs)


def _between(subject: Subject, base: Tensor) -> dict[str, list[Tensor]]:
    """The inputs of the calls in between."""
    gen = generator(subject.settings.seed, "repeat-call")
    length = base.shape[1]
    calls = {
        "the same sequence": [base],
        "another sequence": [subject.draw(1, length, gen)],
        "a longer sequence": [subject.draw(1, 2 * length, gen)],
        "a shorter sequence": [subject.draw(1, max(1, length // 2), gen)],
    }
    if subject.settings.batch > 1:
        calls["several rows"] = [subject.draw(3, length, gen)]
    lengths = [max(1, length * (i % 4 + 1) // 4) for i in range(MANY)]
    calls[f"{MANY} sequences of several lengths"] = [subject.draw(1, each, gen) for each in lengths]
    return calls


def _after(subject: Subject, inputs: Tensor, others: list[Tensor]) -> Tensor | None:
    """How far f(inputs) is from itself after as many other calls, [N]; None where the model takes none of them."""
    try:
        before = subject.run(inputs)
    except Exception:
        return None
    taken = [_takes(subject, other) for other in others]
    if not any(taken):
        return None
    for _ in range(taken.count(False)):
        subject.run(inputs, reset=False)
    return max_abs_diff(before, subject.run(inputs, reset=False))[0].cpu()


def _takes(subject: Subject, inputs: Tensor) -> bool:
    """Call the subject without restoring it; whether it takes these inputs."""
    try:
        subject.run(inputs, reset=False)
    except Exception:
        return False
    return True


PROBE = Probe(
    "repeat-call",
    "outputs that depend on earlier calls",
    order=4,
    run=run,
    forwards=lambda subject: 33 if subject.settings.batch > 1 else 30,
    blind_to="everything that one call does by itself, except to write into its input.",
)
