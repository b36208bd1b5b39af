"""Causality audits in anybody's pytest suite; fixture and options are in `plugin`, which pytest loads by itself."""

from audits.testing.parametrize import parametrize_with_probes

__all__ = ["parametrize_with_probes"]
