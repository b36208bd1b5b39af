"""The sentences that several reports share."""

TITLE = "HubRouter Audit"
TIMING_NOTE = "Measured on this machine; differs from run to run."
REBUILT = "Rebuilt from the evidence alone: the same evidence gives the same page, byte for byte."

NO_PROOF = "What a PASS does not prove"
LIMITS = (
    "A PASS of the auditor means that no probe found a leak in the configuration, lengths, precision and weights that "
    "were run. It is not a proof for other ones.",
    "Effects below the noise floor of the arithmetic, and dependencies that need a rare input to show, can be missed. "
    "The kill matrix shows which mechanisms are known to be seen, and by which probe.",
    "SUPPORTED means that the pre-registered test came out as claimed at this scale; it does not carry over to larger "
    "models, other data or longer training.",
    "Where a paper is silent on a detail, a choice had to be made; a verdict is about the system as rebuilt here.",
    "INCONCLUSIVE is not a polite FAIL: the smallest effect that could have been detected, and the seeds it would "
    "take, are printed with it.",
)
