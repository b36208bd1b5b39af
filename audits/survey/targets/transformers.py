"""Every surveyed architecture of transformers, built on access."""

from audits.survey.targets import attributes_of

__getattr__ = attributes_of("transformers")
