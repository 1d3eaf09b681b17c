"""What every command says in the same way."""

from typing import NoReturn
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.text import Text


def fail(message: str) -> NoReturn:
    """End the command with status 1 and one sentence that says what to do."""
    Console(stderr=True).print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
    raise typer.Exit(1)


def check_address(url: str) -> None:
    """End the command where a URL is no server's: of another scheme, without a host, its port no number."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and " " not in url
    except ValueError:
        known = False
    if not known:
        fail(f"{printable(url)} is no address: it starts with http:// or https://, as http://127.0.0.1:8000/v1 does.")


def printable(text: str) -> str:
    """The text without control characters, which could move a terminal's cursor or change its settings."""
    return "".join(character for character in text if character in "\n\t" or character.isprintable())
