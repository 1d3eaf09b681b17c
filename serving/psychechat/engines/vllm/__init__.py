"""The real engines. Importing this package does not import vLLM: its modules do."""
