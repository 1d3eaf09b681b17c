"""The `psychechat` command: `serve` and `models`, beside the commands that need no Ray."""

from typing import Annotated, Literal, TypeVar

import typer
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from yaml import YAMLError

from psychechat import prompts
from psychechat.cli import commands
from psychechat.config import ROLES, ModelSettings, Settings, SettingsError
from psychechat.memory.backends import open_memory
from psychechat_ray import environment
from psychechat_ray.configurations import load
from psychechat_ray.models import check_adapters
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
    check: Annotated[
        bool, typer.Option("--check", help="Only look at the configuration, and show who does what.")
    ] = False,
) -> None:
    """Serve the API on this machine."""
    console = Console()
    settings = _settings(config, host=host, port=port, engine=engine)
    try:
        # As the replicas will; Ray's complaint comes later and is longer.
        open_memory(settings.memory)
        prompts.load_all(settings.packs)
        check_adapters(settings)
        if check:
            console.print(_who_does_what(settings))
            return
        prepare_models(settings)
    except (SettingsError, FileNotFoundError, ValueError) as error:
        console.print(str(error), markup=False, style="red", soft_wrap=True)
        raise typer.Exit(1) from None
    environment.set_defaults()
    from psychechat_ray import server  # imports Ray, which reads the environment

    try:
        server.run(settings, console, logs=logs)
    except server.StartFailed as failure:
        console.print(str(failure), markup=False, style="red", soft_wrap=True)
        raise typer.Exit(1) from None


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
        settings = load(config)
    except (FileNotFoundError, ValidationError, YAMLError) as error:
        Console(stderr=True).print(str(error), markup=False, style="red", soft_wrap=True)
        raise typer.Exit(1) from None
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
    """The same on this kind of engine, without arguments that another kind alone knows."""
    return settings if settings.engine == engine else settings.model_copy(update={"engine": engine, "engine_args": {}})


def main() -> None:
    app()
