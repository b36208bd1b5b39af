"""What probes are built from: inputs changed, outputs compared, the noise known, the place found."""
