"""The steps of `python -m benchmarks.gpu serve`."""
