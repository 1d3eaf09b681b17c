"""Speed beside what a user would pick instead: `make bench`. Start with `__main__`, then `parts`."""
