"""`psychechat evaluate`: simulated seekers talk with a counselor, and rate what it says."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from psychechat.commands.console import check_address, fail, printable
from psychechat.evaluation import cards, page, runs, summary
from psychechat.evaluation.dialogue import Ask, Row
from psychechat.evaluation.endpoint import Endpoint
from psychechat.evaluation.figures import BETTER
from psychechat.evaluation.seekers import Modelled, Scripted, Seeker

Judge = Literal["model", "heads"]


def evaluate(
    out: Annotated[
        Path, typer.Option(help="The run's folder; one that is there is gone on with. Example: --out runs/today")
    ],
    counselor: Annotated[
        str, typer.Option(help="The counselor's OpenAI address. Example: --counselor http://127.0.0.1:9000/v1")
    ] = "http://127.0.0.1:8000/v1",
    model: Annotated[str, typer.Option(help="The counselor's model.")] = "psychechat",
    judge: Annotated[
        Judge,
        typer.Option(help="model: one plays the seeker and rates. heads: the card's own lines, rated by /v1/classify."),
    ] = "model",
    seeker: Annotated[
        str | None,
        typer.Option(
            help="The seeker's OpenAI address; for heads, where /v1/classify is: the baseline's, if there is one.",
            show_default="the counselor's",
        ),
    ] = None,
    seeker_model: Annotated[
        str | None, typer.Option(help="The seeker's model. Example: --seeker-model qwen3-32b", show_default=False)
    ] = None,
    deck: Annotated[
        list[str] | None,
        typer.Option("--cards", help="en or zh, ours; or a file, ours or the authors' JSON.", show_default="en and zh"),
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="So many of the cards, spread over all.", show_default="all")
    ] = None,
    turns: Annotated[int, typer.Option(min=2, help="A seeker's turns in a dialogue, at most.")] = 30,
    workers: Annotated[int, typer.Option(min=1, help="Dialogues at once.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Dialogues of each card.")] = 1,
    baseline: Annotated[
        Path | None, typer.Option(help="The folder of another run, to compare with card by card.", show_default=False)
    ] = None,
    gate: Annotated[
        Path | None, typer.Option(help="A file of limits; one that is broken ends with status 1.", show_default=False)
    ] = None,
    keep_dialogues: Annotated[
        bool, typer.Option("--keep-dialogues", help="Keep what was said in the run's rows.")
    ] = False,
    metadata: Annotated[
        bool, typer.Option("--metadata/--no-metadata", help="Name each dialogue's session to the counselor.")
    ] = True,
    api_key: Annotated[
        str | None, typer.Option(envvar="PSYCHECHAT_API_KEY", help="The counselor's key.", show_default="none")
    ] = None,
    seeker_key: Annotated[
        str | None, typer.Option(envvar="PSYCHECHAT_SEEKER_API_KEY", help="The seeker's key.", show_default="none")
    ] = None,
) -> None:
    """Let simulated seekers talk with a counselor, and tell how it did them: EIS, EDS, GAR and RLS.

    \b
    psychechat evaluate --out runs/a --seeker http://127.0.0.1:8080/v1 --seeker-model qwen3-32b
    psychechat evaluate --out runs/b --judge heads --most 8 --turns 6
    psychechat evaluate --out runs/c --judge heads --most 8 --turns 6 --counselor http://127.0.0.1:9000/v1 \\
        --seeker http://127.0.0.1:8000/v1 --baseline runs/b --gate limits.yaml

    A run that was stopped goes on where it ended, by the same command. What was said is not kept unless you ask for it.
    """
    if judge == "model" and not (seeker and seeker_model):
        fail("Who plays the seeker? Pass --seeker and --seeker-model, or --judge heads for the scripted one.")
    read_at = seeker or counselor
    check_address(counselor)
    check_address(read_at)
    try:
        chosen = _chosen(cards.read(deck or list(cards.SHIPPED)).cards, most)
        about = {
            "counselor": {"url": counselor, "model": model},
            "seeker": {"url": read_at, "model": seeker_model if judge == "model" else None},
            "judge": judge,
            "cards": deck or list(cards.SHIPPED),
            "ids": {card.id: card.digest for card in chosen},
            "turns": turns,
            "seeds": seeds,
            "words": keep_dialogues,
        }
        rules = summary.limits(gate) if gate else None
        if rules and rules.worse_by and not baseline:
            fail(f"{gate} has worse_by: pass --baseline, or take it out.")
        beside = runs.read(baseline) if baseline else None
        if beside and (other := _unlike(about, beside.about)):
            fail(f"{baseline} is a run with another {', '.join(other)}, so the two cannot be compared.")
        kept = runs.begun(out, about)
        heard = _seeker(judge, read_at, seeker_model, seeker_key or (None if seeker else api_key))
        ask = Ask(Endpoint.at(counselor, model, api_key), heard, turns, keep_dialogues, metadata)
        asyncio.run(_run(kept, ask, chosen, seeds, workers))
        _tell(runs.read(out), beside, rules, len(chosen) * seeds)
    except (cards.BadCards, runs.OtherRun, summary.BadLimits) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or out}: {error.strerror}.")


def _unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What keeps two runs from being compared: who played and rated, for how long, or a card that has been edited."""
    option, key = ("--seeker", "url") if ours["judge"] == "heads" else ("--seeker-model", "model")

    def had(about: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "--judge": about.get("judge"),
            option: (about.get("seeker") or {}).get(key),
            "--turns": about.get("turns"),
        }

    now, then = had(ours), had(theirs)
    digests = theirs.get("ids")
    before: Mapping[str, str] = digests if isinstance(digests, dict) else {}
    edited = sum(before.get(card, digest) != digest for card, digest in ours["ids"].items())
    return [
        *(f"{name} ({printable(str(then[name]))})" for name in now if now[name] != then[name]),
        *([f"text on {edited} of the cards"] if edited else []),
    ]


def _chosen(deck: Sequence[cards.Card], most: int | None) -> list[cards.Card]:
    count = min(most or len(deck), len(deck))
    return [deck[place * len(deck) // count] for place in range(count)]


def _seeker(judge: Judge, url: str, model: str | None, key: str | None) -> Seeker:
    endpoint = Endpoint.at(url, model or "psychechat", key)
    return Modelled(endpoint) if judge == "model" else Scripted(endpoint)


async def _run(kept: runs.Kept, ask: Ask, chosen: Sequence[cards.Card], seeds: int, workers: int) -> None:
    columns = (
        TextColumn("talking"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[word]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        done = sum(row["end"] != "dropped" for row in kept.rows)
        task = progress.add_task("", total=len(chosen) * seeds, completed=done, word="")
        dropped = 0

        def told(row: Row) -> None:
            nonlocal dropped
            dropped += row["end"] == "dropped"
            progress.update(
                task, advance=1, word=f"{dropped} dropped, the last for {row['dropped']}" if dropped else ""
            )

        try:
            await runs.go_on(kept, ask, chosen, seeds, workers, told)
        finally:
            await ask.counselor.close()
            await ask.seeker.close()


def _tell(kept: runs.Kept, beside: runs.Kept | None, rules: summary.Limits | None, planned: int) -> None:
    """Print the figures, write the summary and the page, and end with status 1 where a limit is broken.

    Raises OSError.
    """
    counts, estimates = summary.counts(kept.rows, planned), summary.estimates(kept.rows)
    differs = summary.differences(kept.rows, beside.rows) if beside else None
    broken = None
    if rules:
        whole = len({row["card"] for row in kept.rows if row["end"] != "dropped"})
        against = differs[rules.figures] if differs else None
        broken = summary.broken(rules, estimates[rules.figures], against, counts, whole)
    console = Console()
    console.print(_table(estimates["corrected"], differs["corrected"] if differs else None))
    for line in broken or ():
        console.print(f"Broken: {line}", style="red", markup=False, soft_wrap=True)
    whole_summary = {
        "about": kept.about,
        "counts": counts,
        "figures": summary.told(estimates),
        "baseline": {"folder": str(beside.folder), "differences": summary.told(differs)}
        if beside and differs
        else None,
        "broken": broken,
    }
    runs.write(kept.folder, runs.SUMMARY, json.dumps(whole_summary, ensure_ascii=False, indent=1) + "\n")
    drawn = page.render(
        kept.about,
        kept.rows,
        counts,
        beside=differs["corrected"] if differs else None,
        baseline=str(beside.folder) if beside else "",
        broken=broken,
    )
    runs.write(kept.folder, runs.PAGE, drawn)
    told = (
        f"{counts['dialogues']} of {planned} dialogues, {counts['dropped']} dropped. Report: {kept.folder / runs.PAGE}"
    )
    console.print(printable(told), markup=False, highlight=False, soft_wrap=True)
    if broken or not counts["dialogues"]:
        raise typer.Exit(1)


def _table(estimates: page.Differences, differs: page.Differences | None) -> Table:
    table = Table("figure, corrected", "mean", "95 % interval", *(["against the baseline"] if differs else []))
    for name in BETTER:
        one, other = estimates[name], differs[name] if differs else None
        cells = [f"{one.mean:.2f}", f"{one.low:.2f} to {one.high:.2f}"] if one else ["not rated", ""]
        if differs:
            cells.append(f"{other.mean:+.2f} ({other.low:+.2f} to {other.high:+.2f})" if other else "")
        table.add_row(name, *cells)
    return table
