"""docs/benchmarks.md, the README's figures and the table of docs/clients.md, from the newest results.

`python -m benchmarks.report` writes them.

The prose around the figures is docs/benchmarks.md.in, a Jinja template. What explains a run was written for that run,
so the template names its day: `{{ run("soak", "2026-11-24") }}`. A newer result is refused until somebody has read the
prose again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.clients.table import table
from benchmarks.provenance import RESULTS
from benchmarks.speed.report import markdown
from benchmarks.speed.targets import judge

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
TEMPLATE = ROOT / "docs" / "benchmarks.md.in"
CLIENTS = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- figures: written by python -m benchmarks.report -->", "<!-- /figures -->"
MODELS = ROOT / "models" / "results"


@dataclass(frozen=True)
class Figure:
    """A row of the README: one number, and where it comes from."""

    what: str
    number: str
    command: str
    file: Path


def newest(name: str) -> Path:
    """The file of this name, in the folder of the latest day. Raises FileNotFoundError if there is none."""
    found = max(RESULTS.glob(f"*/{name}"), default=None)
    if found is None:
        raise FileNotFoundError(f"no {name} in {RESULTS}")
    return found


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return content


def document() -> str:
    """docs/benchmarks.md as it should be."""
    names = ("speed", "overload", "soak", "chaos", "hostile", "guard", "clients", "coherence", "care")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    results: dict[str, Any] = {name: read(newest(f"{name}.json")) for name in names}
    results["tenants"] = read(newest("tenants.json")) if any(RESULTS.glob("*/tenants.json")) else None
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        **results,
        **{name: read(MODELS / f"{name}.json") for name in ("classifier", "counselor")},
        speed_tables=markdown(results["speed"]["parts"]),
        run=run,
        plot=plot,
        soak_plot=plot("soak.png") if any(RESULTS.glob("*/soak.png")) else None,
    )


def plot(name: str) -> str:
    return f"../{newest(name).relative_to(ROOT)}"


def run(kind: str, day: str | None = None) -> str:
    """A link to the newest result. Raises ValueError if it is of another day than the prose beside it."""
    file = newest(f"{kind}.json")
    if day and file.parent.name != day:
        raise ValueError(
            f"{TEMPLATE.name} explains the {kind} of {day}, and there is one of {file.parent.name}: "
            "read its prose again, then change the day there"
        )
    return (
        f"[{kind}.json](../{file.relative_to(ROOT)}), `make {'bench' if kind == 'speed' else kind}`, {file.parent.name}"
    )


def figures() -> list[Figure]:
    """The eight that the README shows: of what matters most to whoever reads it first, misses among them."""
    files = {name: newest(f"{name}.json") for name in ("overload", "guard", "chaos", "speed")}
    overload, guard, chaos, speed = map(read, files.values())
    written = read(MODELS / "classifier.json")["hand_written"]["all"]
    crises, lost_node = overload["overload"]["crisis"], chaos["scenarios"]["worker"]
    held_out = guard["unsafe_held_out"]
    lost = sum(lost_node[name] for name in ("failed", "lost", "cut_in_the_end"))
    verdicts = {verdict.name: verdict for verdict in judge(speed["parts"], {})}
    shipped, agent = verdicts["shipped-16"], verdicts["agent-16"]
    evaluate, classifier = "python -m models.evaluate", MODELS / "classifier.json"
    return [
        Figure(
            f"crisis turns without an answer, of {crises['turns']:,} at twice the capacity",
            str(crises["not_answered"]),
            "make overload",
            files["overload"],
        ),
        Figure(
            f"crises missed, of {written['crises']} in sentences written as a test",
            str(written["missed_by_server"]),
            evaluate,
            classifier,
        ),
        Figure(
            f"harmless sentences taken for a crisis, of {written['no_crises']} written as a test",
            str(written["false_alarms_by_server"]),
            evaluate,
            classifier,
        ),
        Figure(
            f"unsafe replies that the output guard stops, of {held_out['replies']} it was not made for",
            str(held_out["blocked_whole"]),
            "make guard",
            files["guard"],
        ),
        waiting(overload, files["overload"]),
        Figure(
            f"turns lost or failed, of {lost_node['turns']}, while one of two nodes is killed",
            str(lost),
            "make chaos",
            files["chaos"],
        ),
        Figure(
            f"turns/s, 16 at once, beside vLLM and a client that classifies (wanted: {shipped.target})",
            shipped.measured or "not measured",
            "make bench",
            files["speed"],
        ),
        Figure(
            f"Agent Mode turns/s, 16 at once, beside a sequential client (wanted: {agent.target})",
            agent.measured or "not measured",
            "make bench",
            files["speed"],
        ),
    ]


def waiting(overload: Mapping[str, Any], file: Path) -> Figure:
    """How long a crisis waits for its resources under load."""
    found = overload["crisis_times_idle"]
    what = "a crisis's resources at twice the capacity, beside an idle server's (wanted: 1.5 × at most)"
    slowest = max(found[name]["overload"]["p50"] for name in ("resources_phrase", "resources_veiled"))
    return Figure(what, f"{slowest:.3g} ×", "make overload", file)


def clients() -> str:
    """The table of docs/clients.md."""
    return table(read(newest("clients.json"))["clients"])


def readme_figures(chosen: Sequence[Figure]) -> str:
    plot = newest("speed-relay.png").relative_to(ROOT)
    rows = (f"| {f.what} | {f.number} | `{f.command}`, [{f.file.name}]({f.file.relative_to(ROOT)}) |" for f in chosen)
    return "\n".join([f"![Tokens a second, and time to the first token]({plot})", "", *HEAD, *rows])


HEAD = ("| what | figure | from |", "| --- | --- | --- |")


def into(file: Path, text: str) -> str:
    """What the file holds, with this text between its markers. Raises ValueError if it has none."""
    before, begin, rest = file.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} has no place for the figures: it needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def write() -> None:
    DOCUMENT.write_text(document(), "utf-8")
    README.write_text(into(README, readme_figures(figures())), "utf-8")
    CLIENTS.write_text(into(CLIENTS, clients()), "utf-8")


if __name__ == "__main__":
    write()
