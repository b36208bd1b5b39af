"""Triton kernels of the strictly causal layer; loaded when a layer with `impl="triton"` first runs, never before."""
