"""`psychechat report`: what was detected in a conversation or a corpus, as one page of HTML.

lines → turns (what one holds) → tally (what they add up to) → plots → page
"""

from psychechat.report.lines import read
from psychechat.report.page import render
from psychechat.report.tally import Tally
from psychechat.report.turns import Turn, Unreadable

__all__ = ["Tally", "Turn", "Unreadable", "read", "render"]
