"""The audit as users call it: the model, and the settings of the process, are left as they were."""

from audits.auditor import audit as core
from audits.subject.untouched import guarded

audit = guarded(core.audit)
assert_causal = guarded(core.assert_causal)
