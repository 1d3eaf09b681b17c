"""Turns: `/v1/chat/completions`."""
