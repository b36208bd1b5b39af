"""What every report says of audits: its title, what a PASS does not prove, and that times are measurements."""

TITLE = "HubRouter Audit"
TIMING_NOTE = "Measured on this machine; differs from run to run."
AUDIT_LIMITS = (
    "A PASS of the auditor means that no probe found a leak in the configuration, lengths, precision and weights that "
    "were run. It is not a proof for other ones.",
    "Effects below the noise floor of the arithmetic, and dependencies that need a rare input to show, can be missed. "
    "The kill matrix shows which mechanisms are known to be seen, and by which probe.",
)
