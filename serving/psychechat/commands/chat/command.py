"""The command, from its options to the last line that is typed."""

from typing import Annotated

import openai
import typer
from openai import OpenAI
from rich.console import Console
from rich.panel import Panel

from psychechat.commands.chat.shown import Unreadable, explain
from psychechat.commands.chat.slash import Slash
from psychechat.commands.chat.talk import BrokenOff, Talk
from psychechat.commands.chat.typed import Typed
from psychechat.commands.console import check_address, fail, printable

_OPENING = """\
PsychēChat, a demonstration. It detects emotion and risk in what you write and routes each turn accordingly. It \
diagnoses and assesses nothing and is no medical device; a model writes the replies, and it can be wrong. If a life \
may be in danger, call your local emergency number.

No transcript is saved here unless you say /save. /help lists what else there is; /quit or Ctrl-D leaves."""


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
    """Talk to a running server; each turn shows its mode, emotions, valence, shift and risk.

    While you talk, /help lists the commands: what each stage made of a turn, another model, forgetting, saving.
    """
    check_address(url)
    console = Console()
    with OpenAI(base_url=url, api_key=api_key or "none", max_retries=0) as client:
        talk = Talk(client, model, console)
        try:
            models = talk.models()
        except (openai.OpenAIError, Unreadable) as error:
            fail(explain(error, url))
        if not models:
            fail(f"The server at {url} lists no models: is it ready, and is the address right?")
        if model not in models:
            fail(f"The server has no model {model}. Pass --model with one of: {', '.join(map(printable, models))}.")
        console.print(Panel(_OPENING, border_style="dim"))
        _converse(talk, console, url)


def _converse(talk: Talk, console: Console, url: str) -> None:
    typed = Typed(console)
    slash = Slash(talk, console, typed, url)
    typed.complete(slash.completions)
    while True:
        try:
            text = typed.message()
            if text == "/quit":
                return
            if slash.handles(text):
                slash.run(text)
                continue
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        if not text:
            continue
        try:
            talk.turn(text.removeprefix("/") if text.startswith("//") else text)
        except KeyboardInterrupt:
            console.print("\nStopped. Your message was taken back.", style="dim")
        except (openai.OpenAIError, BrokenOff, Unreadable) as error:
            console.print()
            console.print(f"{explain(error, url)} Your message was taken back.", style="red", markup=False)
        else:
            slash.after_turn()
