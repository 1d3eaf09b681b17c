"""Interface of the emotion memory between turns, and the keys that values are stored under."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from psychechat.conversation import Conversation, EmotionMemory, Utterance
from psychechat.risk import RiskState, worse

TOMBSTONE_SECONDS = 86_400
"""How long it is known that a session was forgotten: longer than any turn takes."""


class Unreadable(Exception):
    """Stored value that this process cannot read. The message gives the reason, and nothing of the value."""


class Memory(Protocol):
    """Store of emotion memories, by keys of `Keys`. A lost entry costs a turn its shift and is never an error."""

    async def recall(self, key: bytes) -> EmotionMemory | None:
        """Value under the key, if any. Raises Unreadable, or any error of the backend."""
        ...

    async def remember(self, keys: Sequence[bytes], memory: EmotionMemory, *, session: bytes, age: float) -> bool:
        """Store the value under each key, as the session's. False, and nothing stored, if the session was forgotten
        since the turn began, `age` seconds ago. Where another turn has written meanwhile, `merged` of both is stored.
        """
        ...

    async def remember_hold(self, keys: Sequence[bytes], hold: EmotionMemory) -> None:
        """Store a hold under each key, where `graver` keeps it. It is no session's, and goes by its age alone."""
        ...

    async def forget(self, session: bytes) -> None:
        """Delete all that turns of this session have stored but holds, and refuse what turns under way would store."""
        ...


def merged(memory: EmotionMemory, there: EmotionMemory | None) -> EmotionMemory:
    """The value to keep where `there` stands: of two turns of one conversation that ran side by side the more careful
    risk stays. What another conversation left under the same name is replaced.
    """
    if there is None or there.revision == memory.after or not _of_one_conversation(memory, there):
        return memory
    return replace(memory, risk=worse(there.risk, memory.risk))


def graver(hold: EmotionMemory, there: EmotionMemory | None) -> EmotionMemory:
    """The hold to keep where `there` stands, which may be another conversation's: the worse one, unless this is what
    became of that one.
    """
    if there is None or _went_on(hold.risk, there.risk):
        return hold
    return replace(hold, risk=worse(there.risk, hold.risk))


def _went_on(risk: RiskState, from_: RiskState) -> bool:
    """Whether it is a later state of the same hold: it has counted the newest line of the other."""
    return risk.episode == from_.episode and set(from_.counted[-1:]) <= set(risk.counted)


def _of_one_conversation(first: EmotionMemory, second: EmotionMemory) -> bool:
    said, other = first.said, second.said
    went_on_from_one = first.after != "" and first.after == second.after
    return went_on_from_one or said.covers(other) or other.covers(said) or said.shares_a_line(other)


class Keys:
    """Keys that do not reveal what was hashed: keyed BLAKE2b, 32 bytes, of a tenant and a session id, the conversation
    up to and including a counselor's reply, or its end.

    An OpenAI client sends the whole conversation each time, so what it sends next starts with the same words.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of_session(self, tenant: str, session: str) -> bytes:
        """Id of the session for `forget`; also the key of its memory, if the client sent the session id."""
        return self._hash("session", tenant, session)

    def before(self, tenant: str, conversation: Conversation) -> bytes | None:
        """Key of the previous turn's memory; None at a conversation's first turn."""
        return self._of_utterances(tenant, conversation.answered) if conversation.answered else None

    def after(self, tenant: str, conversation: Conversation, reply: str) -> bytes:
        """Key of this turn's memory."""
        return self._of_utterances(tenant, (*conversation.utterances, Utterance("counselor", reply)))

    def of_end(self, tenant: str, utterances: Sequence[Utterance]) -> bytes:
        """Key of a hold, by a conversation's last reply and the line before it, or by the reply alone where it is all
        that is left of the conversation.
        """
        return self._hash("end", tenant, *(field for u in utterances[-2:] for field in (u.speaker, _plain(u.text))))

    def of_utterance(self, tenant: str, utterance: Utterance) -> str:
        """Names an utterance in `Said`."""
        return self._hash("utterance", tenant, utterance.speaker, _plain(utterance.text))[:8].hex()

    def of_line(self, tenant: str, *texts: str) -> str:
        """Names a line of the seeker's, with the question that it was read with, where no words may be kept."""
        return self._hash("line", tenant, *texts)[:8].hex()

    def places(self, tenant: str, conversation: Conversation) -> tuple[str, ...]:
        """Names the conversation up to the end of each of its utterances."""
        names, digest = [], self._digest("place", tenant)
        for utterance in conversation.utterances:
            _add(digest, utterance.speaker, utterance.text.strip())
            names.append(digest.copy().digest()[:16].hex())
        return tuple(names)

    def _of_utterances(self, tenant: str, utterances: tuple[Utterance, ...]) -> bytes:
        return self._hash("conversation", tenant, *(field for u in utterances for field in (u.speaker, u.text.strip())))

    def _hash(self, *fields: str) -> bytes:
        return self._digest(*fields).digest()

    def _digest(self, *fields: str) -> hashlib.blake2b:
        digest = hashlib.blake2b(key=self._secret, digest_size=32)
        _add(digest, *fields)
        return digest


def _plain(text: str) -> str:
    """Without what a client may change in white space."""
    return " ".join(text.split())


def _add(digest: hashlib.blake2b, *fields: str) -> None:
    for field in fields:
        encoded = field.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
