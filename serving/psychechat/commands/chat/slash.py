"""What is typed behind a slash: a command of this program, and no message."""

from collections.abc import Callable, Sequence
from pathlib import Path

import openai
from rich.console import Console

from psychechat.commands.chat.saved import file_name, save
from psychechat.commands.chat.shown import Unreadable, explain, stages
from psychechat.commands.chat.talk import Talk
from psychechat.commands.chat.typed import Typed
from psychechat.commands.console import printable

COMMANDS = {
    "/stages": "show what each stage made of a turn, or stop showing it",
    "/model": "[NAME] list the models, or go on with another one",
    "/save": "[FILE] write the conversation to a file",
    "/forget": "have the server forget this conversation, and start over",
    "/new": "start over",
    "/help": "this list",
    "/quit": "leave, as Ctrl-D does",
}
_TAKE_A_NAME = ("/model", "/save")


class Slash:
    def __init__(self, talk: Talk, console: Console, typed: Typed, url: str) -> None:
        self._talk, self._console, self._typed, self._url = talk, console, typed, url
        self._shows_stages = False
        self._models: list[str] = []
        self._runs: dict[str, Callable[[str], None]] = {
            "/stages": lambda _: self._toggle_stages(),
            "/model": self._model,
            "/save": self._save,
            "/forget": lambda _: self._forget(),
            "/new": lambda _: self._new(),
            "/help": lambda _: self._help(),
        }

    def handles(self, text: str) -> bool:
        """Whether it is no message. One that begins with a slash is written with two."""
        return text.startswith("/") and not text.startswith("//")

    def completions(self, line: str) -> Sequence[str]:
        names = [*COMMANDS, *(f"/model {model}" for model in self._models)]
        return [name for name in names if line.startswith("/") and name.startswith(line)]

    def run(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        run = self._runs.get(name)
        if run is None:
            self._say(f"{name} is no command. For a message that begins with a slash, write two: /{text}")
            self._help()
        elif rest.strip() and name not in _TAKE_A_NAME:
            self._say(f"{name} stands alone. For a message that begins with a slash, write two: /{text}")
        else:
            run(rest.strip())

    def after_turn(self) -> None:
        if self._shows_stages:
            self._show_stages()

    def _help(self) -> None:
        for name, what in COMMANDS.items():
            self._say(f"{name:8} {what}")
        self._say("//…      a message that begins with a slash")

    def _new(self) -> None:
        self._talk.start_over()
        self._say("A new conversation.")

    def _toggle_stages(self) -> None:
        self._shows_stages = not self._shows_stages
        self._say("Stages are shown beside each turn." if self._shows_stages else "Stages are no longer shown.")
        if self._shows_stages and self._talk.turns:
            self._show_stages()

    def _show_stages(self) -> None:
        self._console.print(stages(self._talk.turns[-1].psychechat), soft_wrap=True)

    def _model(self, name: str) -> None:
        try:
            self._models = self._talk.models()
        except (openai.OpenAIError, Unreadable) as error:
            self._complain(explain(error, self._url))
            return
        if name and name in self._models:
            self._talk.model = name
            self._say(f"{name} answers from here on. The conversation goes on.")
            return
        if name:
            self._complain(f"The server has no model {name}.")
        for model in self._models:
            self._say(f"{'*' if model == self._talk.model else ' '} {model}")

    def _forget(self) -> None:
        sessions, turns = self._talk.sessions, self._talk.turns
        was_held = any(turn.held for turn in turns)
        try:
            self._talk.forget()
        except openai.NotFoundError:
            self._complain("This server has no sessions to delete. The conversation goes on; /new starts over.")
            return
        except (openai.OpenAIError, Unreadable) as error:
            self._complain(f"{explain(error, self._url)} It may not be forgotten yet: the conversation goes on.")
            return
        self._typed.clear_history()
        if not turns:
            self._say("There is nothing to forget yet.")
        elif not sessions:
            self._say("The server named no session, so nothing could be deleted there. A new conversation.")
        else:
            self._say(f"Deleted on the server: what was remembered as {', '.join(sessions)}. A new conversation.")
            if was_held:
                self._say(
                    "That a crisis held it stays there for a time, by the conversation's end, without words or name."
                )

    def _save(self, name: str) -> None:
        if not self._talk.turns:
            self._say("There is nothing to save yet.")
            return
        try:
            file = Path(name or file_name()).expanduser()
            there, usable = file.exists(), file.absolute().parent.is_dir() and not file.is_dir()
        except (OSError, RuntimeError, ValueError):  # nobody's home, a name too long, a null
            there, usable = False, False
        if not usable:
            self._complain(f"{name} cannot be written: name a file in an existing folder.")
            return
        if there and not self._typed.confirms(f"{printable(str(file))} exists. Overwrite it?"):
            self._say("Not saved.")
            return
        try:
            save(file, self._talk.model, self._talk.turns)
        except OSError as error:
            self._complain(f"{file}: {error.strerror}. Not saved.")
            return
        self._say(
            f"Saved to {file.absolute()}, readable by you only. It now lies on disk, with all that was said, until you "
            "delete it."
        )

    def _say(self, text: str) -> None:
        self._console.print(printable(text), style="dim", markup=False, highlight=False, soft_wrap=True)

    def _complain(self, text: str) -> None:
        self._console.print(printable(text), style="red", markup=False, highlight=False, soft_wrap=True)
