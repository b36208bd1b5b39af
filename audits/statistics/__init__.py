"""Statistics for few runs: pure functions with typed results; each module holds one concept. No torch in here.

Bad input (too few runs, values that are not finite, arms without any variance) raises a ValueError of one line.
"""
