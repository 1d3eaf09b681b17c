"""A soak, and what it and locust must both know of it: see `benchmarks.soak.__main__`."""

SPIKE = (0.6, 0.7)
"""From where to where in the run there are more seekers."""
