"""The commands of `hubrouter-audit`, one file each: name, help, options. They import no torch: help has to be quick."""
