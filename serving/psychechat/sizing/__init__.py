"""Arithmetic of `psychechat size`: what of a model fits on a GPU, and how many turns that carries."""
