"""The report of one audit or bet, a format a file."""
