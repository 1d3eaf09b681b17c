"""`python -m benchmarks.care --help` says what there is; `make care` measures all of it.

What is read (`probe`, `singles`, `ordinary`, `dialogues`, `pairs`, `cost`) goes through the server's own API in this
process, with the shipped classifier and a counselor who says the dialogue's next line: one classification a turn. What
is answered (`crises`, `robust`, `fifty`, `replies`) goes to the whole demo. Either goes to a server that is running,
where `--url` names one. `sheet` and `judged` are for replies that are judged blind.
"""

import asyncio
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.care import blind
from benchmarks.care.asking import MODELS, Client, reached
from benchmarks.care.parts import contacts as contacts_part
from benchmarks.care.parts import cost as cost_part
from benchmarks.care.parts import crises as crises_part
from benchmarks.care.parts import dialogues as dialogues_part
from benchmarks.care.parts import fifty as fifty_part
from benchmarks.care.parts import ordinary as ordinary_part
from benchmarks.care.parts import pairs as pairs_part
from benchmarks.care.parts import probe as probe_part
from benchmarks.care.parts import replies as replies_part
from benchmarks.care.parts import robust as robust_part
from benchmarks.care.parts import singles as singles_part
from benchmarks.care.parts.base import Found, Run
from benchmarks.care.progress import OtherRun
from benchmarks.care.reading import classifier, in_process
from benchmarks.care.texts import TextsMissing
from benchmarks.provenance import provenance, today
from models.data import ROOT
from tests.support import servers

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_show_locals=False)
console = Console(stderr=True)

Url = Annotated[
    str | None,
    typer.Option(help="A server that is running, e.g. http://127.0.0.1:8000. Without it one is started for the part."),
]
Key = Annotated[str | None, typer.Option(envvar="PSYCHECHAT_API_KEY", help="Its key, if it wants one.")]
Data = Annotated[
    Path, typer.Option(envvar="PSYCHECHAT_DATA", help="The folder of the data sets, care_probe among them.")
]
Output = Annotated[Path | None, typer.Option(help="Folder for care.json. [benchmarks/results/DATE]")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where the last run of this part ended, if it was of this commit.")
]
Seed = Annotated[int, typer.Option(help="Decides what is chosen, and how it is asked.")]
AtOnce = Annotated[int, typer.Option(min=1, help="Conversations at once.")]

Part = Callable[[Client], Awaitable[Found]]


@app.command()
def probe(url: Url = None, key: Key = None, data: Data = ROOT, output: Output = None, resume: Resume = False) -> None:
    """20 conversations, each right or wrong, and single texts: missed and false by language, acts under way missed."""
    run = Run(console, data, resume=resume, server=url or "")
    _finish("probe", _ask(url, key, lambda client: probe_part.run(run, client)), output, f"{_at(url)}")


@app.command()
def singles(
    url: Url = None, key: Key = None, output: Output = None, resume: Resume = False, at_once: AtOnce = 2
) -> None:
    """520 fresh single texts in eight languages: crises missed, others taken for one."""
    run = Run(console, ROOT, 0, at_once, resume, url or "")
    _finish("singles", _ask(url, key, lambda client: singles_part.run(run, client)), output, _at(url))


@app.command()
def ordinary(
    url: Url = None,
    key: Key = None,
    data: Data = ROOT,
    output: Output = None,
    resume: Resume = False,
    seed: Seed = 0,
    turns: Annotated[int, typer.Option(help="A third from each of two sets, and all of ours.")] = 600,
    at_once: AtOnce = 2,
) -> None:
    """Ordinary conversations of several turns: how many turns are held, crises or raised though none should be."""
    run = Run(console, data, seed, at_once, resume, url or "")
    found = _ask(url, key, lambda client: ordinary_part.run(run, client, turns))
    _finish("ordinary", found, output, f"--turns {turns} --seed {seed}{_at(url)}")


@app.command()
def dialogues(
    url: Url = None, key: Key = None, output: Output = None, resume: Resume = False, at_once: AtOnce = 2
) -> None:
    """Slow burns, which should raise care, and grief, break-ups, exams and calm, which should not."""
    run = Run(console, ROOT, 0, at_once, resume, url or "")
    _finish("dialogues", _ask(url, key, lambda client: dialogues_part.run(run, client)), output, _at(url))


@app.command()
def crises(
    url: Url = None,
    key: Key = None,
    output: Output = None,
    resume: Resume = False,
    seed: Seed = 0,
    every_way: Annotated[
        bool, typer.Option("--every-way", help="Each text in all six ways: three models, streamed and whole.")
    ] = False,
    most: Annotated[int | None, typer.Option(help="So many of the texts, to try it. [all]")] = None,
    config: Annotated[str, typer.Option(help="Of the server that is started.")] = "demo-cpu",
) -> None:
    """200 crises, one after the other: what is said, whether help is named at once, how soon the first piece comes."""
    run = Run(console, ROOT, seed, 1, resume, url or "")
    found = _ask(url, key, lambda client: crises_part.run(run, client, every_way=every_way, most=most), config)
    options = f"--seed {seed}{' --every-way' if every_way else ''}{f' --most {most}' if most else ''}{_at(url)}"
    _finish("crises", found, output, options)


@app.command()
def robust(
    url: Url = None,
    key: Key = None,
    data: Data = ROOT,
    output: Output = None,
    resume: Resume = False,
    seed: Seed = 0,
    turns: Annotated[int, typer.Option(help="How many; ten kinds come in turn.")] = 2_000,
    at_once: AtOnce = 8,
    config: Annotated[str, typer.Option(help="Of the server that is started.")] = "demo-cpu",
) -> None:
    """Ordinary turns that are hard on a server: hot sampling, long notes, emoji, other scripts, tight bounds."""
    run = Run(console, data, seed, at_once, resume, url or "")
    found = _ask(url, key, lambda client: robust_part.run(run, client, turns), config)
    _finish("robust", found, output, f"--turns {turns} --seed {seed}{_at(url)}")


@app.command()
def contacts(output: Output = None) -> None:
    """200 made-up numbers, links and accounts, none of which may leave, and 200 sentences that may. No server."""
    _finish("contacts", contacts_part.run, output, "")


@app.command()
def cost(
    data: Data = ROOT,
    output: Output = None,
    seed: Seed = 0,
    turns: Annotated[int, typer.Option(help="Of the load test's conversations.")] = 300,
) -> None:
    """CPU seconds of bare readings, of turns with memory, and of turns whose memory was lost."""
    run = Run(console, data, seed)

    async def measure() -> Found:
        async with classifier() as engine:
            return await cost_part.run(run, engine, turns)

    _finish("cost", lambda: asyncio.run(measure()), output, f"--turns {turns} --seed {seed}")


@app.command()
def fifty(
    url: Url = None,
    key: Key = None,
    model: Annotated[str, typer.Option(help=f"One of {', '.join(MODELS)}.")] = MODELS[0],
    config: Annotated[str, typer.Option(help="Of the server that is started.")] = "demo-cpu",
) -> None:
    """Print fifty replies to lines of our own, to read: sad, angry, glad, bored, in danger; nothing is written."""

    async def read() -> None:
        async with _client(url, key, config) as client:
            await fifty_part.run(client, model)

    _or_fail(lambda: asyncio.run(read()))


@app.command()
def replies(
    to: Annotated[Path, typer.Argument(help="JSON lines: what was said, and the reply. A file that is there goes on.")],
    url: Url = None,
    key: Key = None,
    model: Annotated[str, typer.Option(help=f"One of {', '.join(MODELS)}.")] = MODELS[0],
    language: Annotated[list[str], typer.Option(help="Which messages.")] = ["en", "zh"],  # noqa: B006
    config: Annotated[str, typer.Option(help="Of the server that is started.")] = "demo-cpu",
) -> None:
    """Replies to 120 fresh messages, to be judged by who does not know which model wrote them."""

    async def read() -> None:
        async with _client(url, key, config) as client:
            await replies_part.run(client, model, to, language)

    _or_fail(lambda: asyncio.run(read()))


@app.command()
def pairs(output: Output = None) -> None:
    """40 pairs of drafts, a kind one and one that hurts: whether the third head lets the kind one alone pass."""

    async def measure() -> Found:
        async with classifier() as engine:
            return await pairs_part.run(engine)

    _finish("pairs", lambda: asyncio.run(measure()), output, "")


Replies = Annotated[list[str], typer.Argument(help="NAME=FILE of each model, as `replies` wrote it.")]


@app.command()
def sheet(
    replies: Replies,
    to: Annotated[Path, typer.Option(help="A folder: sheet.jsonl is for the judge, key.json is not.")],
    seed: Seed = 0,
) -> None:
    """Mix the replies of several models for a judge who is not to know whose they are."""
    named = dict(told.split("=", 1) for told in replies)
    rows, key = blind.sheet({name: blind.read(Path(file)) for name, file in named.items()}, seed)
    to.mkdir(parents=True, exist_ok=True)
    (to / "sheet.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    (to / "key.json").write_text(json.dumps(key, ensure_ascii=False, indent=1) + "\n", "utf-8")
    console.print(f"{len(rows)} rows; a verdict is a line of JSON: row, verdict ({', '.join(blind.VERDICTS)}), why")


@app.command()
def judged(
    folder: Annotated[Path, typer.Argument(help="With sheet.jsonl, key.json and the judge's verdicts.jsonl.")],
    output: Output = None,
) -> None:
    """Count a judge's verdicts by model and language, and how often a check of patterns agrees."""

    def count() -> Found:
        rows, key = blind.read(folder / "sheet.jsonl"), json.loads((folder / "key.json").read_text("utf-8"))
        return {**blind.counted(rows, key, blind.verdicts_of(folder / "verdicts.jsonl", rows)), "missed": []}

    _finish("judged", count, output, str(folder))


@app.command(name="all")
def every_part(data: Data = ROOT, output: Output = None, seed: Seed = 0) -> None:
    """Measure every part, each with a server of its own (about an hour on two cores)."""
    failed = []
    parts: dict[str, Callable[[], None]] = {
        "contacts": lambda: contacts(output),
        "probe": lambda: probe(data=data, output=output),
        "ordinary": lambda: ordinary(data=data, output=output, seed=seed),
        "dialogues": lambda: dialogues(output=output),
        "pairs": lambda: pairs(output),
        "cost": lambda: cost(data, output, seed),
        "crises": lambda: crises(output=output, seed=seed),
        "robust": lambda: robust(data=data, output=output, seed=seed),
    }
    for name, part in parts.items():
        console.rule(name)
        try:
            part()
        except typer.Exit:
            failed.append(name)
    if failed:
        console.print(f"[red]Missed or not measured: {', '.join(failed)}[/]")
        raise typer.Exit(1)


def _at(url: str | None) -> str:
    return f" --url {url}" if url else ""


def _ask(url: str | None, key: str | None, part: Part, config: str | None = None) -> Callable[[], Found]:
    """A part, to be run with a client: of the server at `url`, else of one that is started."""

    async def ask() -> Found:
        async with _client(url, key, config) as client:
            return await part(client)

    return lambda: asyncio.run(ask())


@asynccontextmanager
async def _client(url: str | None, key: str | None, config: str | None) -> AsyncIterator[Client]:
    """`config` None: a server that only reads is enough."""
    if url is not None:
        async with reached(url, key) as client:
            yield client
        return
    if config is None:
        console.log("Starting the classifier ...")
        async with classifier() as engine, in_process(engine) as client:
            yield client
        return
    console.log("Starting the server ...")
    with servers.configured(servers.with_all_crises(config), Path(tempfile.mkdtemp(prefix="care-"))) as server:
        async with reached(server.url, key) as client:
            yield client


def _or_fail(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (TextsMissing, OtherRun, RuntimeError, ValueError) as error:
        console.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None


def _finish(name: str, measure: Callable[[], Found], output: Path | None, options: str) -> None:
    """Write the part's figures into care.json beside the others', show them, and exit with 1 if one is missed."""
    found = _or_fail(measure)
    command = f"python -m benchmarks.care {name} {options}".replace("  ", " ").strip()
    file = today(output) / "care.json"
    parts = json.loads(file.read_text("utf-8"))["parts"] if file.is_file() else {}
    parts[name] = provenance(command) | found
    file.write_text(json.dumps({"parts": parts}, ensure_ascii=False, indent=1) + "\n", "utf-8")
    typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    console.print(f"Written to {file}")
    if found["missed"]:
        console.print(f"{name}, missed:", *found["missed"], sep="\n  ", highlight=False)
        raise typer.Exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    app()
