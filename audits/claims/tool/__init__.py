"""Claims about this tool itself, one file each."""
