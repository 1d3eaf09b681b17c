"""The `psychechat` command: `serve` and `models`, beside the commands that need no Ray."""

from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from yaml import YAMLError

from psychechat.cli import commands
from psychechat.config import ModelSettings, Settings, SettingsError
from psychechat.memory.backends import open_memory
from psychechat_ray import environment
from psychechat_ray.configurations import load
from psychechat_ray.models import prepare as prepare_models

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
    console = Console()
    settings = _settings(config, host=host, port=port, engine=engine)
    try:
        open_memory(settings.memory)  # as the ingress will; Ray's complaint comes later and is longer
        prepare_models(settings)
    except SettingsError as error:
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
    for role, folder in folders.items():
        Console().print(f"{role}: {folder}", soft_wrap=True)


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
        for role in ("classifier", "counselor", "seeker"):
            model: ModelSettings | None = getattr(settings, role)
            if model is not None and model.engine != engine:  # whose arguments the other engine does not know
                changes[role] = model.model_copy(update={"engine": engine, "engine_args": {}})
    try:
        return Settings.model_validate(settings.model_dump() | changes)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        Console(stderr=True).print(message, markup=False, style="red", soft_wrap=True)
        raise typer.Exit(1) from None


def main() -> None:
    app()
