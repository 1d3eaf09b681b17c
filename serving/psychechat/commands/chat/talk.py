"""One conversation with a server: what was said, what it found, and what it remembers it by."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import openai
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from rich.console import Console

from psychechat.commands.chat.shown import summary
from psychechat.commands.console import printable


class BrokenOff(Exception):
    """The stream ended before the reply did."""


@dataclass(frozen=True, slots=True)
class Turn:
    user: str
    assistant: str
    psychechat: Mapping[str, Any]
    """The reply's object of this name; empty where a server sends none."""


class Talk:
    """A turn that fails leaves no trace in it."""

    def __init__(self, client: OpenAI, model: str, console: Console) -> None:
        self._client, self.model, self._console = client, model, console
        self.turns: list[Turn] = []

    @property
    def sessions(self) -> list[str]:
        """All that the server has remembered the conversation as, the latest last; each has to be forgotten."""
        named = (turn.psychechat.get("session") for turn in self.turns)
        return list(dict.fromkeys(session for session in named if isinstance(session, str)))

    @property
    def _messages(self) -> list[ChatCompletionMessageParam]:
        said: list[ChatCompletionMessageParam] = []
        for turn in self.turns:
            said += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.assistant}]
        return said

    def models(self) -> list[str]:
        return [known.id for known in self._client.models.list()]

    def start_over(self) -> None:
        self.turns = []

    def forget(self) -> None:
        """Have the server forget each session of the conversation, then start over. Raises what the client raises."""
        for session in self.sessions:
            self._client.delete(f"/sessions/{quote(session, safe='')}", cast_to=object)
        self.start_over()

    def turn(self, text: str) -> None:
        """Send the message and print the reply as it comes. Raises BrokenOff or what the client raises."""
        asked: list[ChatCompletionMessageParam] = [*self._messages, {"role": "user", "content": text}]
        reply, finish, detected = "", None, None
        with (
            self._console.status("thinking…") as waiting,
            self._client.chat.completions.create(model=self.model, messages=asked, stream=True) as stream,
        ):
            for chunk in _whole(stream):
                detected = (chunk.model_extra or {}).get("psychechat", detected)
                for choice in chunk.choices:
                    finish = choice.finish_reason or finish
                    if content := choice.delta.content:
                        if not reply:
                            waiting.stop()
                            self._console.print("[bold cyan]counselor[/] › ", end="")
                        reply += content
                        self._say(content)
        if finish is None:
            raise BrokenOff
        self._console.print()
        found = detected if isinstance(detected, Mapping) else {}
        if "mode" in found:  # a key with `fields: minimal` is told nothing of the kind
            self._console.print(summary(found, finish))
        self.turns.append(Turn(text, reply, found))

    def _say(self, piece: str) -> None:
        self._console.print(printable(piece), end="", markup=False, highlight=False, soft_wrap=True)


def _whole(stream: Iterable[ChatCompletionChunk]) -> Iterator[ChatCompletionChunk]:
    """The stream's chunks; a connection that is lost among them is no server that cannot be reached."""
    try:
        yield from stream
    except openai.APIConnectionError:
        raise BrokenOff from None
