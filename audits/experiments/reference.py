"""What runs of the reference layer never load: its other implementations, which `impl` names."""

OTHER_IMPLEMENTATIONS = ("hubrouter.compiled", "hubrouter.kernels.layer")
