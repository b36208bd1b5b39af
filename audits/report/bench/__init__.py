"""The report of the bench, a format a file."""
