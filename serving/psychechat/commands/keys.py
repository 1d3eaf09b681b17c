"""`psychechat keys`: API keys, which the server knows by their hashes only, and the keys of the memory in Redis."""

import hashlib
import secrets
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from psychechat.commands.console import fail
from psychechat.config import ApiKey, complaint
from psychechat.policy import Name

commands = typer.Typer(no_args_is_help=True, help="Make API keys, and the keys of the memory in Redis.")


@commands.callback()
def _() -> None:
    """Make API keys, and the keys of the memory in Redis."""


@commands.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is: letters, digits, dots, dashes. Example: intake-app")],
    drill: Annotated[
        bool, typer.Option("--drill", help="For practice: its crises are events of the type `drill`.")
    ] = False,
    fields: Annotated[
        str,
        typer.Option(
            metavar="all|minimal",
            help="minimal: answers say nothing that was found out about the seeker. For a backend that hands them "
            "on to browsers.",
        ),
    ] = "all",
    tasks: Annotated[
        bool, typer.Option("--tasks", help="For background tasks of a chat page only, such as titles.")
    ] = False,
    of: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --tasks: the name of the key that the page's conversations come with."),
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="For /metrics only, which then no other key opens.")
    ] = False,
    inspect: Annotated[
        bool,
        typer.Option(
            "--inspect",
            help="Its answers show what the stages made of a turn, refused drafts among it, where policy.show_stages "
            "is true. For whoever develops, never for an app that seekers write in.",
        ),
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add the line to this file, for auth.keys_file, and print the key alone.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a key. It is shown once; the settings get its hash.

    The key goes to the client, the line below it into auth.keys of the settings or into auth.keys_file. A running
    server reads that file again whenever its policy changes, so keys come and go without a restart.

    \b
    psychechat keys new intake-app                      an app, or a page's backend
    psychechat keys new website --fields minimal        one whose answers browsers see
    psychechat keys new website-tasks --tasks --of website
    psychechat keys new training --drill                for practice
    psychechat keys new prometheus --metrics            who scrapes, and nothing else
    psychechat keys new developer --inspect             who looks into the stages
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        fail("A name has 1 to 64 letters, digits, dots, dashes or underscores.")
    key = f"psy-{secrets.token_urlsafe(32)}"
    said = {"drill": drill, "fields": fields, "tasks": tasks, "of": of, "metrics": metrics, "inspect": inspect}
    try:
        entry = ApiKey.model_validate({"sha256": hashlib.sha256(key.encode()).hexdigest(), **said})
    except ValidationError as error:
        fail(f"Such a key cannot be: {complaint(error)}.")
    if to is not None:
        _add(to, name, entry)
        typer.echo(key)
        return
    console = Console(highlight=False)
    console.print(f"The key, for the client (it is not kept anywhere):\n\n  {key}\n", soft_wrap=True)
    console.print("Its line for the settings' auth.keys, or for auth.keys_file:\n", soft_wrap=True)
    console.print(f"  {_line(name, entry)}", markup=False, soft_wrap=True)


def _add(file: Path, name: str, entry: ApiKey) -> None:
    """A line more. The file, if it is not there yet, is its user's alone."""
    try:
        kept = file.read_text("utf-8") if file.exists() else ""
        named = yaml.safe_load(kept) or {}
        if not isinstance(named, dict):
            fail(f"{file} is no file of keys: one line each, NAME: SHA256.")
        if name in named:
            fail(f"{file} has a key {name} already: take its line out, or choose another name.")
        file.touch(0o600)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(("\n" if kept and not kept.endswith("\n") else "") + f"{_line(name, entry)}\n")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        fail(f"{file}: {complaint(error)}.")


def _line(name: str, entry: ApiKey) -> str:
    """In YAML, with what it says beside its hash only."""
    said = entry.model_dump(exclude_defaults=True)
    if len(said) == 1:
        return yaml.safe_dump({name: entry.sha256}).strip()
    return yaml.safe_dump({name: said}, default_flow_style=None, sort_keys=False, width=1000).strip()


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
