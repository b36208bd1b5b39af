"""Somebody's model: found by name, prepared, called from the same state every time, and put back."""

from audits.subject.subject import DTYPES, Model, Settings, Subject, SubjectError, prepare

__all__ = ["DTYPES", "Model", "Settings", "Subject", "SubjectError", "prepare"]
