"""All that changes vLLM on a CPU."""
