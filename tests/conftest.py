"""Markers that cost time are chosen on the command line; nothing here is shared by unit tests."""
