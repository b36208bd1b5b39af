"""The report of the claims, a format a file."""
