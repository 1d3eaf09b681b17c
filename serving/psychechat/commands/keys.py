"""`psychechat keys`: API keys, which the server knows by their hashes only."""

import hashlib
import secrets
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from psychechat.commands.console import fail
from psychechat.config import Name

commands = typer.Typer(no_args_is_help=True, help="Make API keys.")


@commands.callback()
def _() -> None:
    """Make API keys."""


@commands.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is: letters, digits, dots, dashes. Example: intake-app")],
) -> None:
    """Make a key. It is shown once; the settings get its hash."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        fail("A name has 1 to 64 letters, digits, dots, dashes or underscores.")
    key = f"psy-{secrets.token_urlsafe(32)}"
    console = Console(highlight=False)
    console.print(f"The key, for the client (it is not kept anywhere):\n\n  {key}\n", soft_wrap=True)
    console.print("Its line for the settings' auth.keys, or for auth.keys_file:\n", soft_wrap=True)
    console.print(f"  {name}: {hashlib.sha256(key.encode()).hexdigest()}", markup=False, soft_wrap=True)
