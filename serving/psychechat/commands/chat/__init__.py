"""`psychechat chat`: a conversation in the terminal, with what the server found beside each turn.

It is an ordinary OpenAI client: it sends the whole conversation each time and keeps it in memory, on disk only where it
is told to.
"""

from psychechat.commands.chat.command import chat as chat

__all__ = ["chat"]
