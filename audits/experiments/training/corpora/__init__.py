"""Where a corpus comes from, one file each: the standard library, a text file, a dataset."""
