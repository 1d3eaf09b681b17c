"""`psychechat gate`: scripted seekers whom no counselor may fail, in minutes and without a model that plays them."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from psychechat.commands.console import check_address, fail, printable
from psychechat.commands.files import replacing
from psychechat.evaluation.endpoint import Endpoint
from psychechat.evaluation.gate import baseline as baselines
from psychechat.evaluation.gate import checks, scripts
from psychechat.evaluation.gate.play import Scene, play_all
from psychechat.help.resources import BadTable, of_settings, shipped


def gate(
    url: Annotated[
        str, typer.Option(help="The server's OpenAI address. Example: --url http://127.0.0.1:9000/v1")
    ] = "http://127.0.0.1:8000/v1",
    model: Annotated[str, typer.Option(help="Its model.")] = "psychechat",
    api_key: Annotated[
        str | None, typer.Option(envvar="PSYCHECHAT_API_KEY", help="Its key. Best one for drills.", show_default="none")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="The settings file whose crisis resources are to be shown.", show_default="the package's"),
    ] = None,
    own: Annotated[
        Path | None, typer.Option("--scripts", help="Scripts of your own.", show_default="the package's")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="What --out wrote before, not to be worse than.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Written for a later --baseline: numbers, no words.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Seekers at once.")] = 4,
    turn_seconds: Annotated[float, typer.Option(min=0.1, help="What a turn may take; then it is left.")] = 95.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="What the whole gate may take; then it ends.")] = 300.0,
) -> None:
    """Play seekers who veil, escalate, change the subject, ask for methods, insult, are minors or come back next day.

    Status 1 where a crisis is missed, is not held or gets no help first, where something forbidden is said, where a
    turn is an error or too late, or where the server has become worse than a baseline beyond chance.

    \b
    psychechat gate --url http://127.0.0.1:9000/v1
    psychechat gate --out before.json
    psychechat gate --baseline before.json

    Crises are among it, so use a key for drills (psychechat keys new gate --drill) where anybody is told of them.
    """
    check_address(url)
    if out and (out.is_dir() or not os.access(out.absolute().parent, os.W_OK)):
        fail(f"{out} cannot be written: name a file in a folder that is there and yours.")
    try:
        chosen = scripts.read(own) if own else scripts.shipped()
        before = baselines.read(baseline) if baseline else None
        rules = checks.Rules(turn_seconds, of_settings(config) if config else shipped())
    except (scripts.BadScripts, baselines.BadBaseline, BadTable) as error:
        fail(str(error))
    except yaml.YAMLError:
        fail(f"{config} is not YAML.")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}.")
    console, began = Console(), time.monotonic()
    scenes = asyncio.run(_play(url, model, api_key, chosen, workers, rules, seconds))
    took = time.monotonic() - began
    figures = {script.id: baselines.seen(script, scenes[script.id]) for script in chosen}
    breaches = [broken for script in chosen for broken in checks.broken(script, scenes[script.id], rules)]
    bad = [*map(str, breaches), *(baselines.worse(figures, before) if before is not None else ())]
    if took > seconds:
        bad.append(f"in time: the gate took {took:.0f} s, and {seconds:g} are allowed")
    for line in bad:
        console.print(f"Broken: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    turns = sum(map(len, scenes.values()))
    whole = Counter(broken.must for broken in breaches)
    musts = ", ".join(f"{must} {whole[must]}" for must in checks.MUSTS if whole[must]) or "nothing broken"
    told = f"{len(chosen)} seekers, {turns} turns in {took:.0f} s: {musts}."
    console.print(printable(told), markup=False, highlight=False, soft_wrap=True)
    if out:
        _keep(out, figures, {"model": model, "seconds": round(took, 1)}, bad)
    if bad:
        raise typer.Exit(1)


async def _play(
    url: str,
    model: str,
    key: str | None,
    chosen: Sequence[scripts.Script],
    workers: int,
    rules: checks.Rules,
    seconds: float,
) -> Mapping[str, Scene]:
    console = Console(stderr=True)
    endpoint = Endpoint.at(url, model, key, retries=0, seconds=rules.seconds)

    def told(script: scripts.Script, scene: Scene) -> None:
        broken = len(checks.broken(script, scene, rules))
        seconds = sum(played.reply.seconds for played in scene)
        word = f"{broken} broken" if broken else "as it must be"
        console.print(f"{script.id}: {word}, {len(scene)} turns in {seconds:.0f} s", markup=False, highlight=False)

    try:
        return await play_all(endpoint, chosen, workers, told, seconds)
    finally:
        await endpoint.close()


def _keep(out: Path, figures: baselines.Kept, about: Mapping[str, object], bad: Sequence[str]) -> None:
    try:
        with replacing(out) as file:
            file.write(baselines.text(figures, about, bad).encode())
    except OSError as error:
        fail(f"{error.filename or out}: {error.strerror}.")
