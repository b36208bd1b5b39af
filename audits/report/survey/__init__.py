"""The report of a survey, a format a file."""
