"""Every surveyed model of the table of packages, installed and built on access."""

from audits.survey.targets import attributes_of

__getattr__ = attributes_of("packages")
