"""`psychechat chat`: a conversation in the terminal, with what the server found beside each turn.

It is an ordinary OpenAI client: it sends the whole conversation each time and keeps it in memory only.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import openai
import typer
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from psychechat.commands.console import fail, printable

_OPENING = """\
PsychēChat, a demonstration. It detects emotion and risk in what you write and routes each turn accordingly. It \
diagnoses and assesses nothing and is no medical device; a model writes the replies, and it can be wrong. If a life \
may be in danger, call your local emergency number.

No transcript is saved here. /new starts over; /quit or Ctrl-D leaves."""


def chat(
    url: Annotated[
        str, typer.Option(help="The server's OpenAI address. Example: --url http://127.0.0.1:9000/v1")
    ] = "http://127.0.0.1:8000/v1",
    model: Annotated[
        str,
        typer.Option(
            help="psychechat routes each turn itself; -agent and -llm pin a mode. Example: --model psychechat-llm"
        ),
    ] = "psychechat",
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PSYCHECHAT_API_KEY",
            help="The server's key, if it wants one. Example: PSYCHECHAT_API_KEY=… psychechat chat",
            show_default="none",
        ),
    ] = None,
) -> None:
    """Talk to a running server; each turn shows its mode, emotions, valence, shift and risk."""
    if not url.startswith(("http://", "https://")):
        fail(f"{url} is no address: it starts with http:// or https://, as http://127.0.0.1:8000/v1 does.")
    console = Console()
    with OpenAI(base_url=url, api_key=api_key or "none", max_retries=0) as client:
        try:
            models = [known.id for known in client.models.list()]
        except openai.OpenAIError as error:
            fail(explain(error, url))
        if model not in models:
            fail(f"The server has no model {model}. Pass --model with one of: {', '.join(map(printable, models))}.")
        console.print(Panel(_OPENING, border_style="dim"))
        _converse(Talk(client, model, console), console, url)


def _converse(talk: "Talk", console: Console, url: str) -> None:
    while True:
        try:
            text = console.input("\n[bold]you[/] › ").strip()
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        match text:
            case "":
                continue
            case "/quit":
                return
            case "/new":
                talk.forget()
                console.print("A new conversation.", style="dim")
                continue
        try:
            talk.turn(text)
        except KeyboardInterrupt:
            console.print("\nStopped. Your message was taken back.", style="dim")
        except (openai.OpenAIError, BrokenOff) as error:
            console.print()
            console.print(f"{explain(error, url)} Your message was taken back.", style="red", markup=False)


class BrokenOff(Exception):
    """The stream ended before the reply did."""


class Talk:
    """One conversation. A turn that fails leaves no trace in it."""

    def __init__(self, client: OpenAI, model: str, console: Console) -> None:
        self._client, self._model, self._console = client, model, console
        self._messages: list[ChatCompletionMessageParam] = []

    def forget(self) -> None:
        self._messages = []

    def turn(self, text: str) -> None:
        """Send the message and print the reply as it comes. Raises BrokenOff or what the client raises."""
        asked: list[ChatCompletionMessageParam] = [*self._messages, {"role": "user", "content": text}]
        reply, finish, detected = "", None, None
        with (
            self._console.status("thinking…") as waiting,
            self._client.chat.completions.create(model=self._model, messages=asked, stream=True) as stream,
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
        if isinstance(detected, Mapping):
            self._console.print(summary(detected, finish))
        self._messages = [*asked, {"role": "assistant", "content": reply}]

    def _say(self, piece: str) -> None:
        self._console.print(printable(piece), end="", markup=False, highlight=False, soft_wrap=True)


def _whole(stream: Iterable[ChatCompletionChunk]) -> Iterator[ChatCompletionChunk]:
    """The stream's chunks; a connection that is lost among them is no server that cannot be reached."""
    try:
        yield from stream
    except openai.APIConnectionError:
        raise BrokenOff from None


def summary(detected: Mapping[str, Any], finish: str) -> Text:
    """The reply's `psychechat` object as one dim line."""
    emotions = ", ".join(f"{emotion['label']} {emotion['probability']:.2f}" for emotion in detected["emotions"])
    shift = "" if detected["shift"] is None else f", shift {detected['shift']:+d}"
    parts = [
        f"{detected['mode']} mode ({detected['reason'].replace('_', ' ')})",
        emotions or "no clear emotion",
        f"valence {detected['valence']:+d}{shift}",
        f"risk {detected['risk']['level'] or 'unknown'}",
    ]
    if rounds := detected["review"]["rounds"]:
        parts.append(f"review {'passed' if detected['review']['passed'] else 'not passed'} after {rounds}")
    if detected["review"]["fallback"]:
        parts.append("answered with fixed words")
    if finish == "length":
        parts.append("cut at the length limit")
    return Text(printable(" · ".join(parts)), style="dim")


def explain(error: openai.OpenAIError | BrokenOff, url: str) -> str:
    """One sentence about what went wrong and what to do."""
    match error:
        case BrokenOff():
            return "The reply broke off: the server may have stopped. Look at its log."
        case openai.APITimeoutError():
            return f"The server at {url} did not answer in time: try again, or look at its log."
        case openai.APIConnectionError():
            return f"No server answers at {url}: start one with `psychechat serve`, or pass its address with --url."
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "The server does not take this key: pass another with --api-key or PSYCHECHAT_API_KEY."
        case openai.NotFoundError():
            return f"There is no OpenAI API at {url}: does the address end in /v1?"
        case openai.APIError(body={"message": str(message)}):
            return f"The server says: {printable(message)}"
    return f"The server at {url} answered in a way that no PsychēChat server does: is the address right?"
