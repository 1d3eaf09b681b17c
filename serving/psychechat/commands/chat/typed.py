"""What is typed: a line with its history, where the terminal has readline. The history is never written to disk."""

import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from rich.console import Console

readline: ModuleType | None
try:
    import readline
except ImportError:
    readline = None


class Typed:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._edits = readline is not None and sys.stdin.isatty() and sys.stdout.isatty()
        if readline and self._edits:
            readline.set_auto_history(False)  # an answer to a question is no message

    def message(self) -> str:
        """The next line, without white space around it. Raises EOFError or KeyboardInterrupt."""
        self._console.print()
        text = input(self._prompt).strip()
        if readline and self._edits and text:
            readline.add_history(text)
        return text

    def confirms(self, question: str) -> bool:
        try:
            return input(f"{question} [y/N] ").strip().casefold() in ("y", "yes")
        except (EOFError, KeyboardInterrupt):
            self._console.print()
            return False

    def clear_history(self) -> None:
        if readline and self._edits:
            readline.clear_history()

    def complete(self, completions: Callable[[str], Sequence[str]]) -> None:
        """Let the tabulator complete a line to one of `completions(line)`."""
        if readline is None or not self._edits:
            return
        editor = readline

        def matching(_: str, state: int) -> str | None:
            matches = completions(editor.get_line_buffer())
            return matches[state] if state < len(matches) else None

        editor.set_completer_delims("")
        editor.set_completer(matching)
        is_libedit = "libedit" in (editor.__doc__ or "")
        editor.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")

    @property
    def _prompt(self) -> str:
        """Printed by readline itself, which else does not know where the line begins. \\001 and \\002 mark what has no
        width."""
        if not self._console.is_terminal or self._console.no_color or self._console.color_system is None:
            return "you › "
        bold, plain = "\x1b[1m", "\x1b[0m"
        return f"\001{bold}\002you\001{plain}\002 › " if self._edits else f"{bold}you{plain} › "
