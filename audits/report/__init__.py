"""The report: data in, text out; only `write` touches the file system."""
