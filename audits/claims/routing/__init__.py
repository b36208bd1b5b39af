"""Claims of the companion paper on routing: a table of mechanisms, and a file for each claim with a rule of its own."""
