"""One conversation with a server: what was said, what it found, and what it remembers it by."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import openai
from openai import OpenAI, Stream
from rich.console import Console

from psychechat.commands.chat.shown import Unreadable, summary
from psychechat.commands.chat.told import Told, at, part, parts, text
from psychechat.commands.console import printable


class BrokenOff(Exception):
    """The stream ended before the reply did."""


@dataclass(frozen=True, slots=True)
class Turn:
    user: str
    assistant: str
    psychechat: Told
    """The reply's object of this name; empty where a server sends none."""

    @property
    def session(self) -> str:
        """What the server remembers it as; empty if it names nothing."""
        return text(self.psychechat, "session")

    @property
    def held(self) -> bool:
        return at(self.psychechat, "risk", "conversation", "held") is True


class Talk:
    """A turn that fails leaves no trace in it."""

    def __init__(self, client: OpenAI, model: str, console: Console) -> None:
        self._client, self.model, self._console = client, model, console
        self.turns: list[Turn] = []

    @property
    def sessions(self) -> list[str]:
        """All that the server has remembered the conversation as, the latest last; each has to be forgotten."""
        return list(dict.fromkeys(turn.session for turn in self.turns if turn.session))

    @property
    def _messages(self) -> list[dict[str, str]]:
        said: list[dict[str, str]] = []
        for turn in self.turns:
            said += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.assistant}]
        return said

    def models(self) -> list[str]:
        """Raises Unreadable or what the client raises."""
        with _readable():
            listed = parts(self._client.get("/models", cast_to=object), "data")
        if listed is None:
            raise Unreadable
        return [model for each in listed if (model := text(each, "id"))]

    def start_over(self) -> None:
        self.turns = []

    def forget(self) -> None:
        """Have the server forget each session of the conversation, then start over.

        Raises Unreadable, where it does not say that it has, or what the client raises.
        """
        for session in self.sessions:
            with _readable():
                told = self._client.delete(f"/sessions/{quote(session, safe='')}", cast_to=object)
            if at(told, "deleted") is not True:
                raise Unreadable
        self.start_over()

    def turn(self, said: str) -> None:
        """Send the message and print the reply as it comes. Raises BrokenOff, Unreadable or what the client raises."""
        asked = [*self._messages, {"role": "user", "content": said}]
        findings: Told = {}
        reply, finish, heard = "", "", False
        with self._console.status("thinking…") as waiting, _readable(), self._stream(asked) as stream:
            for chunk in _whole(stream):
                heard = True
                findings = part(chunk, "psychechat") or findings
                for choice in parts(chunk, "choices") or ():
                    finish = text(choice, "finish_reason") or finish
                    if content := text(choice, "delta", "content"):
                        if not reply:
                            waiting.stop()
                            self._console.print("[bold cyan]counselor[/] › ", end="")
                        reply += content
                        self._say(content)
        if not finish:
            raise BrokenOff if heard else Unreadable
        self._console.print()
        if told := summary(findings, finish):
            self._console.print(told)
        self.turns.append(Turn(said, reply, findings))

    def _stream(self, asked: list[dict[str, str]]) -> Stream[object]:
        """As the server sends it: it may be another than ours, and the client's types check nothing."""
        body = {"model": self.model, "messages": asked, "stream": True}
        return self._client.post("/chat/completions", body=body, cast_to=object, stream=True, stream_cls=Stream[object])

    def _say(self, piece: str) -> None:
        self._console.print(printable(piece), end="", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _readable() -> Iterator[None]:
    """Raises Unreadable for what is no JSON."""
    try:
        yield
    except ValueError:
        raise Unreadable from None


def _whole(stream: Iterable[object]) -> Iterator[object]:
    """The stream's chunks; a connection that is lost among them is no server that cannot be reached."""
    try:
        yield from stream
    except openai.APIConnectionError:
        raise BrokenOff from None
