"""Is a seeker cared for? What issue trackers ask of it in numbers: see `benchmarks.care.__main__`."""
