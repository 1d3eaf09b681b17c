"""`psychechat report`: what was detected in a conversation or a corpus, as one page of HTML.

lines (what a line holds) → tally (what they add up to) → plots → page
"""

from psychechat.report.lines import Unreadable, read
from psychechat.report.page import render
from psychechat.report.tally import Tally

__all__ = ["Tally", "Unreadable", "read", "render"]
