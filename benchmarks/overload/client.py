"""One turn, and what became of it."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks.overload.conversations import Conversation, Kind, body


@dataclass(frozen=True)
class Ended:
    """One turn, in seconds since it was sent. `status` is -1 where the connection broke."""

    status: int
    kind: Kind
    """As which it was sent. A veiled crisis the door may refuse unread."""
    model: str
    number: int
    """In its conversation, from 1."""
    taken: bool
    """For a crisis, as its reply says. One without a whole reply says nothing."""
    held: bool
    """No crisis itself, in a conversation that an earlier one holds, as its reply says."""
    whole: bool
    told: bool
    """Not whole, and the client was told so by an error at the stream's end."""
    safe_template: bool
    """Fixed words are all of the reply."""
    meant: bool
    """And that is as it should be: an act is under way."""
    helped: bool
    """Whether the first words name somebody to turn to."""
    tokens: int
    """That its stages have generated."""
    at: float
    """When it ended, of `time.monotonic`."""
    first_words: float
    """In a crisis the fixed words with the resources; 0 if there were none."""
    own_words: float
    """In a crisis the model's, behind the fixed ones; 0 if there were none."""
    seconds: float

    @property
    def crisis(self) -> bool:
        return self.kind != "ordinary" or self.taken

    @property
    def good(self) -> bool:
        """Answered as it should be."""
        return self.whole and (self.meant or not self.safe_template)

    @property
    def worked_on(self) -> bool:
        """Answered after all the work that it asks for, whatever a check then made of the model's reply."""
        return self.whole and (self.meant or self.tokens > 0)

    @property
    def cut(self) -> bool:
        return self.status in (200, -1) and not self.whole and not self.told

    @property
    def lost(self) -> bool:
        return self.cut or (self.crisis and not self.whole)


def asking(url: str, key: str | None = None) -> aiohttp.ClientSession:
    """A client that opens as many connections as it is asked to, with an API key if there is one."""
    timeout, connector = aiohttp.ClientTimeout(total=100), aiohttp.TCPConnector(limit=0)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return aiohttp.ClientSession(url, timeout=timeout, connector=connector, headers=headers)


async def turn(client: aiohttp.ClientSession, conversation: Conversation) -> Ended:
    """The conversation's next turn. It goes on with the reply, if that is whole."""
    number = conversation.turn
    line, messages = conversation.say()
    started = time.perf_counter()
    status, read = 0, _Stream()
    try:
        async with client.post("/v1/chat/completions", json=body(conversation, messages)) as response:
            status = response.status
            async for piece in response.content:
                read.feed(piece, time.perf_counter() - started)
    except (aiohttp.ClientError, TimeoutError):
        status = -1
    seconds = time.perf_counter() - started
    whole = status == 200 and read.is_done
    found = read.found if whole else {}
    risk, template = found.get("risk") or {}, bool(found) and found["review"]["fallback"]
    taken = found.get("reason") == "crisis"
    ended = Ended(
        status,
        kind=line.kind,
        model=conversation.model,
        number=number,
        taken=taken,
        held=not taken and bool(risk.get("conversation") and risk["conversation"]["held"]),
        whole=whole,
        told=read.is_error,
        safe_template=template,
        meant=template and risk.get("kind") == "under_way",
        helped=whole and any(row["contact"] in read.words[0] for row in found.get("resources", ()) if read.words),
        tokens=read.tokens if whole else 0,
        at=time.monotonic(),
        first_words=read.times[0] if read.times else 0.0,
        own_words=read.times[1] if taken and not template and len(read.times) > 1 else 0.0,
        seconds=seconds,
    )
    if whole:
        conversation.hear(messages, "".join(read.words))
    if ended.worked_on:
        conversation.answered.append(line)
    return ended


class _Stream:
    """Events of a reply of one choice: its words, when each piece of them came, and what was said of it at the end."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.times: list[float] = []
        self.found: Mapping[str, Any] = {}
        self.tokens = 0
        self.is_done = self.is_error = False

    def feed(self, line: bytes, seconds: float) -> None:
        if not line.startswith(b"data: "):
            return
        content = line.removeprefix(b"data: ").strip()
        self.is_done = content == b"[DONE]"
        if self.is_done:
            return
        event = json.loads(content)
        self.is_error = "error" in event
        self.found = event.get("psychechat") or self.found
        self.tokens = (event.get("usage") or {}).get("completion_tokens", self.tokens)
        choices: Sequence[Mapping[str, Any]] = event.get("choices") or ()
        for choice in choices:
            if words := choice["delta"].get("content"):
                self.words.append(words)
                self.times.append(seconds)
