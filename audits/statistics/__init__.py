"""Statistics for few runs: pure functions with typed results; each module holds one concept. No torch in here."""
