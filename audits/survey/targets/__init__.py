"""Tiny models of a library as targets for the command line: `audits.survey.targets.transformers:jamba`."""
