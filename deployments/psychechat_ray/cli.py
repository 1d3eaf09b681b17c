"""The `psychechat` command: `serve`, `check` and `models`, beside the commands that need no Ray."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, TypeVar, get_args

import typer
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from yaml import YAMLError

from psychechat import prompts, reply_bank
from psychechat.cli import commands
from psychechat.commands.console import fail, printable
from psychechat.config import ROLES, ModelSettings, Settings, SettingsError, complaint
from psychechat.demo import thresholds
from psychechat.help import resources
from psychechat.prompts import weights
from psychechat.safety.replies import bank_replies
from psychechat_ray import configurations, environment, gpus
from psychechat_ray.configurations import Kind
from psychechat_ray.models import has_shipped_heads
from psychechat_ray.models import prepare as prepare_models

M = TypeVar("M", bound=ModelSettings)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False)
app.add_typer(commands)
models = typer.Typer(no_args_is_help=True, help="The models that a configuration names.")
app.add_typer(models, name="models")

Config = Annotated[str, typer.Option(help="A configuration that comes with the package, or a settings file.")]


@app.command()
def serve(
    config: Config = "demo-cpu",
    host: Annotated[str | None, typer.Option(help="Listen here instead of where the configuration says.")] = None,
    port: Annotated[int | None, typer.Option(help="Likewise.")] = None,
    engine: Annotated[
        Literal["vllm", "scripted"] | None, typer.Option(help="'scripted' needs no model and starts in seconds.")
    ] = None,
    logs: Annotated[bool, typer.Option("--logs", help="Print the logs of Ray and the engines too.")] = False,
) -> None:
    """Serve the API on this machine."""

    def read() -> Settings:
        found = _settings(config, host=host, port=port, engine=engine)
        configurations.check(found)  # as the replicas will; Ray's complaint comes later and is longer
        return found

    def read_again() -> Settings:
        try:
            return read()
        except typer.Exit:
            raise SettingsError(f"{config} is not taken.") from None  # it was said why

    console = Console()
    try:
        settings = read()
        if told := weights.notice(prompts.load_all(settings.packs), settings.casting):
            console.print(told, markup=False, style="yellow", soft_wrap=True)
        gpus.check(settings.deployments, gpus.on_this_machine)  # before gigabytes are downloaded for none
        prepare_models(settings)
    except (SettingsError, gpus.TooFewGpus, FileNotFoundError, ValueError) as error:
        console.print(str(error), markup=False, style="red", soft_wrap=True)
        raise typer.Exit(1) from None
    # This user's alone. A socket's path may not be long, as TMPDIR may be.
    with TemporaryDirectory(dir="/tmp", prefix="psy-", ignore_cleanup_errors=True) as folder:
        environment.set_defaults()
        environment.keep_private(Path(folder))
        environment.let_turns_end(settings.policy.limits.turn_seconds)
        from psychechat_ray import server  # imports Ray, which reads the environment

        try:
            server.run(settings, console, logs=logs, read_again=read_again)
        except server.StartFailed as failure:
            console.print(str(failure), markup=False, style="red", soft_wrap=True)
            raise typer.Exit(1) from None


@app.command()
def check(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A file, or a configuration that comes with the package. Example: settings.yaml",
            show_default=False,
        ),
    ],
    kind: Annotated[
        Kind | None,
        typer.Option("--as", help="What it is, where that does not show. Resources: a table of places and rows."),
    ] = None,
) -> None:
    """Judge a file of settings, API keys, keys of the memory or crisis resources as the server does. Starts nothing."""
    console, path = Console(highlight=False), Path(file)
    try:
        kind = kind or (configurations.kind_of(path) if path.exists() else "settings")
        if kind is None:
            fail(f"{file} is empty, or does not show what it is: say it with --as {', '.join(get_args(Kind))}.")
        if kind == "settings":
            settings = _settings(file)
            configurations.check(settings)
            console.print(_who_does_what(settings))
            told = _notices(settings)
        elif kind == "resources":
            table = configurations.check_resources(path)
            told = [resources.notice(table, date.today())]
        else:
            check_file = configurations.check_keys if kind == "keys" else configurations.check_memory_keys
            told = [f"{check_file(path)} {kind}"]
    except SettingsError as error:
        fail(f"{file}, as {kind or 'a file'}: {printable(str(error))}")
    for line in filter(None, told):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"{file}: {kind} as they should be.", markup=False, soft_wrap=True)


def _notices(settings: Settings) -> list[str | None]:
    """What the log says at the start, and what would be stopped of the replies that were written beforehand."""
    return [
        weights.notice(prompts.load_all(settings.packs), settings.casting),
        resources.notice(settings.policy.crisis.resources, date.today()),
        thresholds.notice(settings.policy, shipped=has_shipped_heads(settings.classifier)),
        bank_replies.notice(reply_bank.load_all(settings.reply_banks).values(), settings.policy),
    ]


@models.command()
def prepare(config: Config = "demo-cpu") -> None:
    """Write or download every model of a configuration, so that the server starts without waiting for it."""
    try:
        folders = prepare_models(_settings(config))
    except SettingsError as error:
        Console(stderr=True).print(str(error), markup=False, style="red", soft_wrap=True)
        raise typer.Exit(1) from None
    for name, folder in folders.items():
        Console().print(f"{name}: {folder}", soft_wrap=True)


def _who_does_what(settings: Settings) -> Table:
    """Each role's engine and adapter, by language, and what that engine runs."""
    table = Table("role", *settings.casting.parts, box=box.SIMPLE_HEAD)
    for role in ROLES:
        parts = [casting[role] for casting in settings.casting.parts.values()]
        engines = [settings.engines[part.engine] for part in parts]
        models = [engine.model if engine.engine == "vllm" else engine.engine for engine in engines]
        table.add_row(role, *(Text(f"{part} ({model})") for part, model in zip(parts, models, strict=True)))
    return table


def _settings(config: str, *, host: str | None = None, port: int | None = None, engine: str | None = None) -> Settings:
    try:
        settings = configurations.load(config)
    except FileNotFoundError as error:
        fail(f"{error}.")
    except (OSError, ValueError, YAMLError) as error:
        fail(f"{config}: {complaint(error)}")
    changes: dict[str, object] = {}
    if host is not None:
        changes["host"] = host
    if port is not None:
        changes["port"] = port
    if engine is not None:
        changes["classifier"] = _on(engine, settings.classifier)
        changes["engines"] = {name: _on(engine, its) for name, its in settings.engines.items()}
    try:
        return Settings.model_validate(settings.model_dump() | changes)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        Console(stderr=True).print(message, markup=False, style="red", soft_wrap=True)
        raise typer.Exit(1) from None


def _on(engine: str, settings: M) -> M:
    """The same on this kind of engine, without arguments that another kind alone knows. A scripted one needs no GPU."""
    if settings.engine == engine:
        return settings
    replicas = settings.replicas.model_copy(update={"num_gpus": 0.0}) if engine == "scripted" else settings.replicas
    return settings.model_copy(update={"engine": engine, "engine_args": {}, "replicas": replicas})


def main() -> None:
    app()
