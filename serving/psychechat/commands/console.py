"""What every command says in the same way."""

from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text


def fail(message: str) -> NoReturn:
    """End the command with status 1 and one sentence that says what to do."""
    Console(stderr=True).print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
    raise typer.Exit(1)


def printable(text: str) -> str:
    """The text without control characters, which could move a terminal's cursor or change its settings."""
    return "".join(character for character in text if character in "\n\t" or character.isprintable())
