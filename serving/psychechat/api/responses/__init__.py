"""Turns in OpenAI's newer shape: `/v1/responses`, without state."""
