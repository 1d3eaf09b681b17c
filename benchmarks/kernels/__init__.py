"""The fused heads beside what they replace: `python -m benchmarks.kernels`."""
