"""Which tokens a piece of a reply is made of, for clients that asked how likely they were."""

from collections import deque
from collections.abc import Iterable

from psychechat.conversation import TokenLogprob


class ReplyTokens:
    """Feed it a reply's tokens as the engine tells them, then take those of each piece of text that leaves.

    Text leaves later than its tokens come, and not all of it does: white space before the reply, and whatever follows
    a stop, are no part of it. Both are counted in bytes, since a character may be spread over several tokens.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, TokenLogprob]] = deque()
        self._fed = self._taken = 0

    def feed(self, tokens: Iterable[TokenLogprob]) -> None:
        for token in tokens:
            written = token.bytes
            if not self._fed:
                written = written.decode(errors="surrogateescape").lstrip().encode(errors="surrogateescape")
            if written:
                self._waiting.append((self._fed, token))
                self._fed += len(written)

    def take(self, text: str) -> tuple[TokenLogprob, ...]:
        """The tokens that begin in this text."""
        self._taken += len(text.encode())
        taken = []
        while self._waiting and self._waiting[0][0] < self._taken:
            taken.append(self._waiting.popleft()[1])
        return tuple(taken)
