"""The steps of `python -m benchmarks.gpu kernel`. They need torch and Triton, and nothing of the server."""
