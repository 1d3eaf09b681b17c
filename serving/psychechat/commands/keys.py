"""`psychechat keys`: API keys, which the server knows by their hashes only, and the keys of the memory in Redis."""

import hashlib
import secrets
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from psychechat.commands.console import fail
from psychechat.policy import Name

commands = typer.Typer(no_args_is_help=True, help="Make API keys, and the keys of the memory in Redis.")


@commands.callback()
def _() -> None:
    """Make API keys, and the keys of the memory in Redis."""


@commands.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is: letters, digits, dots, dashes. Example: intake-app")],
    drill: Annotated[
        bool, typer.Option("--drill", help="For practice: its crises are events of the type `drill`")
    ] = False,
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
    digest = hashlib.sha256(key.encode()).hexdigest()
    line = f"{name}: {{sha256: {digest}, drill: true}}" if drill else f"{name}: {digest}"
    console.print(f"  {line}", markup=False, soft_wrap=True)


@commands.command()
def memory() -> None:
    """Print the file for memory.keys_file: the keys that lock what Redis remembers. Keep it as you keep a password."""
    name = f"k{secrets.token_hex(4)}"
    typer.echo(
        "# To replace the key: add another under keys, on every replica; then name it in encrypt_with; and when\n"
        "# memory.ttl_seconds have passed, take the old one out.\n"
        f"index: {_key()} # with another one here, all that is remembered is lost\n"
        f"encrypt_with: {name}\n"
        "keys:\n"
        f"  {name}: {_key()}"
    )


def _key() -> str:
    """Quoted, since YAML reads some digits as a number."""
    return f'"{secrets.token_hex(32)}"'
