"""Reports: every format is a pure function of what it shows; `write` alone touches the file system."""
