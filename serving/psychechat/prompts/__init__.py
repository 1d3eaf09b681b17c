"""Prompt packs: which messages a stage shows a model, and the JSON that the model answers."""

from psychechat.prompts.pack import BUILT_IN, Pack, default_language, load, load_all

__all__ = ["BUILT_IN", "Pack", "default_language", "load", "load_all"]
