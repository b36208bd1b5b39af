"""Token mixers, one file each: a letter for layer patterns and a builder."""
