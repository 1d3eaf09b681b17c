"""Synthetic counselling dialogues and stage records, English and Chinese, written for this project."""
