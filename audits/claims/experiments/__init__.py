"""The experiments that gather evidence for claims, one file each."""
