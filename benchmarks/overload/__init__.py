"""What is left of the server at twice its capacity: read `__main__` first."""
