"""HTTP itself: API keys, bounds on bodies, errors, and response types."""
