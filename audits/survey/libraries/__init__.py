"""The libraries that can be surveyed, one file each."""
