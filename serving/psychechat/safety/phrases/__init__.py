"""The phrases of a crisis: a table of them, and where they stand in a text.

A phrase is found however it was spelled (`folding`), and then looked at where it stands (`standing`): whether it is
a word there or runs over the borders of two (Chinese is segmented around it, and nowhere else), whether it is denied,
long past, somebody else's, or what a film is called. What comes of that is a `Hit`, or nothing.
"""

from psychechat.safety.phrases.entries import Context, Entry, Hit
from psychechat.safety.phrases.lines import LineError
from psychechat.safety.phrases.spelling import Spelling
from psychechat.safety.phrases.table import Phrases, find, shipped, warm

__all__ = ["Context", "Entry", "Hit", "LineError", "Phrases", "Spelling", "find", "shipped", "warm"]
