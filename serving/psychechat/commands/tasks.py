"""`psychechat tasks`: the digest of a chat page's template, so that its background tasks are recognised."""

from pathlib import Path
from typing import Annotated, get_args

import typer
import yaml
from pydantic import ValidationError

from psychechat.commands.console import fail
from psychechat.conversation import TaskKind
from psychechat.tasks.template import HISTORY, digested

commands = typer.Typer(no_args_is_help=True, help="Templates of the background tasks of chat pages.")


@commands.callback()
def _() -> None:
    """Templates of the background tasks of chat pages."""


@commands.command()
def digest(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The template, in UTF-8. Example: title.txt")],
    kind: Annotated[str, typer.Option(help=f"What it asks for: {', '.join(get_args(TaskKind))}.")],
    name: Annotated[str, typer.Option(help="Whose it is, and of which version.")] = "",
    history: Annotated[
        str, typer.Option(help="What stands in it for the conversation. Example: --history '{{MESSAGES:END:2}}'")
    ] = HISTORY,
) -> None:
    """Print a template's entry for policy.tasks.templates: lengths and SHA-256, without a word of its text."""
    try:
        text = file.read_text("utf-8")
        kinds: tuple[TaskKind, ...] = get_args(TaskKind)
        known = next((known for known in kinds if known == kind), None)
        if known is None:
            fail(f"--kind is one of {', '.join(kinds)}.")
        template = digested(name, known, text, history)
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8.")
    except OSError as error:
        fail(f"{file}: {error.strerror}.")
    except ValidationError:
        fail(f"{file}: a task's template needs an instruction before the history, else any message would match.")
    except ValueError as error:
        fail(f"{file}: {error}.")
    typer.echo(yaml.safe_dump([template.model_dump(exclude_none=True)], sort_keys=False, allow_unicode=True), nl=False)
