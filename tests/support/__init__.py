"""What tests and benchmarks share: servers to start, and those who listen to them."""
