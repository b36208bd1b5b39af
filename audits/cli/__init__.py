"""The commands of `hubrouter-audit`, one file each: how its options are added, and what it does."""
