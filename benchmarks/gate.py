"""The gate against the CPU demo: its server is started, asked, and stopped. `--keep` writes what later ones must match.

python -m benchmarks.gate [--keep] [--url URL]
"""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from psychechat.evaluation.gate.baseline import TIMES
from tests.support import servers

BASELINE = Path(__file__).resolve().parents[1] / "evaluation" / "demo-gate.json"

app = typer.Typer(add_completion=False)


@app.command()
def gate(
    keep: Annotated[bool, typer.Option("--keep", help="Write evaluation/demo-gate.json instead of comparing.")] = False,
    url: Annotated[
        str | None, typer.Option(help="The OpenAI address, with /v1, of a server that is there. [one is started]")
    ] = None,
) -> None:
    """Status 1 where a must is broken, or where the demo has become worse than a baseline, if one is kept."""
    if url:
        raise typer.Exit(_asked(url, keep=keep))
    Console().log("Starting the server ...")
    with servers.configured(servers.with_all_crises("demo-cpu"), Path(tempfile.mkdtemp(prefix="gate-"))) as server:
        found = _asked(f"{server.url}/v1", keep=keep)
    raise typer.Exit(found)


def _asked(url: str, *, keep: bool) -> int:
    beside = ["--out", str(BASELINE)] if keep else ["--baseline", str(BASELINE)] if BASELINE.is_file() else []
    command = [str(Path(sys.executable).with_name("psychechat")), "gate", "--url", url, *beside]
    found = subprocess.run(command, check=False).returncode
    if keep and BASELINE.is_file():
        BASELINE.write_text(_of_any_machine(BASELINE.read_text("utf-8")), "utf-8")
    return found


def _of_any_machine(kept: str) -> str:
    """Without seconds: those of another machine are no measure."""
    told = json.loads(kept)
    del told["seconds"]
    for figures in told["scripts"].values():
        for name in TIMES:
            figures.pop(name, None)
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    app()
