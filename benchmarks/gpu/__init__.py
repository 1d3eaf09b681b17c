"""Two prepared runs for a machine with a GPU: `python -m benchmarks.gpu kernel`, and `serve`."""
