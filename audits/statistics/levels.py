"""The error level and the power of the tests used here, fixed beforehand (our choice, the field's habit)."""

ALPHA = 0.05  # of every test, and of the correction over all claims
POWER = 0.8  # to find the effect that a design is made for
