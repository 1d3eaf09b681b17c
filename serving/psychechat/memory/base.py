"""What is remembered between turns, and under which key."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from psychechat.conversation import Conversation, EmotionMemory, Utterance

TOMBSTONE_SECONDS = 86_400
"""How long it is known that a session was forgotten: longer than any turn takes."""


class Unreadable(Exception):
    """There is a value, but it is none that this process can read. The message says no more than why."""


class Memory(Protocol):
    """Losing an entry costs the turn its history of shifts; it is never an error. Keys are those of `Keys`."""

    async def recall(self, key: bytes) -> EmotionMemory | None:
        """Raises Unreadable, or whatever goes wrong on the way to where values are kept."""
        ...

    async def remember(self, keys: Sequence[bytes], memory: EmotionMemory, *, session: bytes, age: float) -> bool:
        """Keep one value under each key, as the session's. False, and nothing kept, if the session was forgotten since
        the turn began, `age` seconds ago.
        """
        ...

    async def forget(self, session: bytes) -> None:
        """Drop all that turns of this session have kept, and whatever those still under way would keep."""
        ...


class Keys:
    """Keys that reveal nothing of what they stand for: keyed BLAKE2b, 32 bytes, of a tenant and either a session
    that the client named or the conversation up to and including a counselor's reply.

    An OpenAI client sends the whole conversation each time, so what it sends next starts with the same words.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of_session(self, tenant: str, session: str) -> bytes:
        """Names a session, and is where a session that the client named is found."""
        return self._hash("session", tenant, session)

    def before(self, tenant: str, conversation: Conversation) -> bytes | None:
        """Where the previous turn left its memory; None at a conversation's first turn."""
        utterances = conversation.utterances
        last_reply = max((i for i, u in enumerate(utterances) if u.speaker == "counselor"), default=None)
        return None if last_reply is None else self._of_utterances(tenant, utterances[: last_reply + 1])

    def after(self, tenant: str, conversation: Conversation, reply: str) -> bytes:
        """Where this turn leaves its memory."""
        return self._of_utterances(tenant, (*conversation.utterances, Utterance("counselor", reply)))

    def _of_utterances(self, tenant: str, utterances: tuple[Utterance, ...]) -> bytes:
        return self._hash("conversation", tenant, *(field for u in utterances for field in (u.speaker, u.text.strip())))

    def _hash(self, *fields: str) -> bytes:
        digest = hashlib.blake2b(key=self._secret, digest_size=32)
        for field in fields:
            encoded = field.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
        return digest.digest()
