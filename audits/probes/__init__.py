"""The probes, one file each; none imports another."""
