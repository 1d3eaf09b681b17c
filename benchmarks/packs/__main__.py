"""Whether `psychechat evaluate` tells prompt packs apart: the shipped ones beside ones made dismissive on purpose.

Two servers of the CPU demo, the same but for their packs, talk with the same cards. Both are rated by the first one's
classifier. Writes packs.json: each run's figures, and the differences card by card.

python -m benchmarks.packs [--most 8] [--turns 6] [--seeds 1]
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.provenance import provenance, today
from psychechat.prompts.pack import BUILT_IN
from tests.support import servers

DISMISSIVE = Path(__file__).parent / "dismissive"
"""Templates laid over the shipped ones: they tell the counselor that the seeker is glad, and ask for short shrift."""

app = typer.Typer(add_completion=False)


def dismissive(folder: Path) -> dict[str, str]:
    """Write the packs; settings for `packs`."""
    for language in ("en", "zh"):
        shutil.copytree(BUILT_IN / language, folder / language)
        shutil.copytree(DISMISSIVE / language, folder / language, dirs_exist_ok=True)
    return {language: str(folder / language) for language in ("en", "zh")}


@app.command()
def packs(
    most: Annotated[int, typer.Option(min=2, help="So many cards, of both languages.")] = 8,
    turns: Annotated[int, typer.Option(min=2, help="A seeker's turns in a dialogue.")] = 6,
    seeds: Annotated[int, typer.Option(min=1, help="Dialogues of each card.")] = 1,
    model: Annotated[str, typer.Option(help="psychechat, psychechat-agent or psychechat-llm.")] = "psychechat",
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Two minutes with the defaults, where nothing else runs."""
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="packs-"))
    runs = {name: folder / name for name in ("shipped", "dismissive")}
    settings = servers.with_all_crises("demo-cpu")
    with servers.configured(settings, made(folder / "server-1")) as shipped:
        console.log("The shipped packs are served. Talking ...")
        size = ["--most", str(most), "--turns", str(turns), "--seeds", str(seeds), "--model", model]
        evaluate(runs["shipped"], shipped, shipped, size)
        other = {**settings, "packs": dismissive(made(folder / "packs"))}
        with servers.configured(other, made(folder / "server-2")) as dismissed:
            console.log("The dismissive ones are served. Talking ...")
            evaluate(runs["dismissive"], dismissed, shipped, [*size, "--baseline", str(runs["shipped"])])
    result: dict[str, Any] = {
        **provenance(f"python -m benchmarks.packs --most {most} --turns {turns} --seeds {seeds} --model {model}"),
        **{name: told(json.loads((run / "summary.json").read_text())) for name, run in runs.items()},
    }
    file = today(output) / "packs.json"
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    console.log(f"{file}; the reports are under {folder}")


def told(summary: dict[str, Any]) -> dict[str, Any]:
    """Without the addresses and folders of this run."""
    beside = {"differences": summary["baseline"]["differences"]} if summary["baseline"] else {}
    return {"cards": summary["about"]["ids"], "counts": summary["counts"], "figures": summary["figures"], **beside}


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def evaluate(run: Path, counselor: servers.Server, rated_by: servers.Server, more: list[str]) -> None:
    """With progress of its own."""
    where = ["--counselor", f"{counselor.url}/v1", "--seeker", f"{rated_by.url}/v1"]
    command = [str(Path(sys.executable).with_name("psychechat")), "evaluate", "--out", str(run), "--judge", "heads"]
    subprocess.run([*command, *where, *more], check=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    app()
