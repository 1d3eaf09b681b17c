"""Reply banks: all that a counselor may say, written beforehand, for one that is too small to write by itself.

Which replies fit is told by what was read of the turn; the counselor writes one of them, and nothing else.
"""

from psychechat.reply_bank.bank import BUILT_IN, Bank, load, load_all
from psychechat.reply_bank.fitting import choices

__all__ = ["BUILT_IN", "Bank", "choices", "load", "load_all"]
