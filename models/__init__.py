"""How the demo models are made and measured. Run from the repository root, as `python -m models.…`."""
