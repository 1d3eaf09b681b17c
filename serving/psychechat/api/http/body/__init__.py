"""Bodies of requests: their coding, their JSON, their fields, and those that nobody reads."""
