"""The commands that need no Ray, as one Typer app: `psychechat_ray.cli` mounts it beside `serve` and `models`."""

import typer

from psychechat.commands import keys, prompts, resources, tasks
from psychechat.commands.chat import chat
from psychechat.commands.classify import classify
from psychechat.commands.evaluate import evaluate
from psychechat.commands.gate import gate
from psychechat.commands.report import report
from psychechat.commands.size import size

commands = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False)
commands.command()(chat)
commands.command()(classify)
commands.command()(report)
commands.command()(evaluate)
commands.command()(gate)
commands.command()(size)
commands.add_typer(prompts.commands, name="prompts")
commands.add_typer(keys.commands, name="keys")
commands.add_typer(resources.commands, name="resources")
commands.add_typer(tasks.commands, name="tasks")
