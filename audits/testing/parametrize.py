"""`parametrize_with_probes`: one test for each model and probe, and what a probe's result means for a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest

from audits.results import AuditResult, CausalityError, Verdict


def parametrize_with_probes(
    models: Mapping[str, Callable[..., Any]],
    *,
    expected_failures: Mapping[str, Mapping[str, str]] | None = None,
    **options: Any,
) -> pytest.MarkDecorator:
    """Decorate a test that takes `check` and calls it: it runs once for each model and probe.

    A model is audited once a process, when the first of its tests runs. A probe that does not apply to it is skipped.

    Args:
        models: by name, classes or functions that build a model from no arguments, or the modules themselves.
        expected_failures: by model and probe, the reason why this test is expected to fail; passing fails it then.
        options: the arguments of `audits.audit`.

    Raises:
        ValueError: `expected_failures` names a model or a probe that is not tested.
    """
    from audits.auditor.audit import chosen_probes

    probes = [probe.name for probe in chosen_probes(options.get("probes"), options.get("preset"))]
    expected = {(name, probe): why for name, row in (expected_failures or {}).items() for probe, why in row.items()}
    unknown = [f"{name}: {probe}" for name, probe in expected if name not in models or probe not in probes]
    if unknown:
        raise ValueError(f"expected_failures names {', '.join(unknown)}; models: {', '.join(models)}; probes: {probes}")
    cases = []
    for name, model in models.items():
        audited = cache(partial(_audited, model, options))
        for probe in probes:
            why = expected.get((name, probe))
            marks = [pytest.mark.xfail(reason=why, raises=AssertionError, strict=True)] if why is not None else []
            cases.append(pytest.param(partial(_check, audited, probe), id=f"{name}-{probe}", marks=marks))
    return pytest.mark.parametrize("check", cases)


def _audited(model: Callable[..., Any], options: dict[str, Any]) -> AuditResult:
    from torch import nn

    from audits.auditor.guarded import audit

    return audit(model if isinstance(model, nn.Module) else model(), **options)


def _check(audited: Callable[[], AuditResult], probe: str) -> None:
    __tracebackhide__ = True
    require_pass(audited(), probe)


def require_pass(result: AuditResult, name: str) -> None:
    """Skip the running test where this probe does not apply to the model, though another does.

    Raises:
        CausalityError: it did not pass, or no probe applies, which is no PASS.
    """
    __tracebackhide__ = True
    from audits.auditor.audit import explain  # torch with it, which pytest must not load at its start

    probe = next(probe for probe in result.probes if probe.name == name)
    if not probe.applicable and any(other.applicable for other in result.probes):
        pytest.skip(probe.why)
    if probe.verdict is not Verdict.PASS or not probe.applicable:
        found = tuple(finding for finding in result.findings if name in finding.seen_by)
        share = replace(result, verdict=probe.verdict, findings=found, probes=(replace(probe, applicable=True),))
        raise CausalityError(explain(share), share)
