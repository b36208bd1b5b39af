"""The commands of `hubrouter-audit`, one file each, imported only when it is called."""
