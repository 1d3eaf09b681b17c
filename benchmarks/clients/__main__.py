"""The clients that people use, against the real server with scripted engines: `make clients`.

Their requirements conflict, so each gets an environment of its own, made by uv with the versions pinned below. Beside
them schemathesis makes requests from our OpenAPI document and compares the answers with it, with all of its checks.
Writes clients.json and exits with 1 if one of them fails.
"""

import json
import os
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import environments
from benchmarks.provenance import provenance, today
from tests.support import servers

FOLDER = Path(__file__).parent
CLIENTS = {
    "openai": ["openai==3.54.0"],
    "langchain": ["langchain-openai==1.7.3", "openai==3.54.0"],
    "litellm": ["litellm==1.106.2"],
    "instructor": ["instructor==1.17.0"],
}
SCHEMATHESIS = "schemathesis==4.32.5"


def versions(programs: Path, *packages: str) -> dict[str, str]:
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    found = subprocess.run([programs / "python", "-c", code, *packages], check=True, capture_output=True, text=True)
    return dict(zip(packages, found.stdout.split(), strict=True))


def client(name: str, url: str, folder: Path) -> dict[str, Any]:
    programs = environments.made(folder / name, *CLIENTS[name], "pytest==8.4.2")
    report = folder / f"{name}.xml"
    alone = f"-q -c {os.devnull} --noconftest -p no:cacheprovider".split()  # of our own tests' settings
    subprocess.run(
        [programs / "python", "-m", "pytest", *alone, f"--junitxml={report}", str(FOLDER / f"{name}_client.py")],
        cwd=folder,
        # LiteLLM would otherwise fetch its table of prices.
        env={**_outside(), "PSYCHECHAT_URL": url, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    tests = int(suite.attrib["tests"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    packages = {requirement.partition("==")[0] for requirement in CLIENTS[name]} | {"openai"}
    return {"versions": versions(programs, *sorted(packages)), "tests": tests, "failed": failed}


def schemathesis(url: str, folder: Path, examples: int, seed: int) -> dict[str, Any]:
    programs = environments.made(folder / "schemathesis", SCHEMATHESIS)
    options = f"--checks all --max-examples {examples} --seed {seed} --no-color".split()
    config = str(FOLDER / "schemathesis.toml")
    found = subprocess.run(
        [str(programs / "st"), "--config-file", config, "run", f"{url}/openapi.json", *options],
        cwd=folder,
        env=_outside(),
        capture_output=True,
        text=True,
    )
    print(found.stdout)
    cases = re.search(r"(\d+) generated", found.stdout)
    assert cases is not None, found.stderr
    return {
        "versions": versions(programs, "schemathesis"),
        "checks": "all",
        "cases": int(cases[1]),
        "failed": len(re.findall(r"Test Case ID", found.stdout)) or int(found.returncode != 0),
        "seed": seed,
    }


def _outside() -> dict[str, str]:
    """Our own environment without our own packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def main(
    examples: Annotated[int, typer.Option(help="Cases that schemathesis may make up for each operation.")] = 100,
    seed: Annotated[int, typer.Option(help="Decides them.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Try every client and write clients.json."""
    with tempfile.TemporaryDirectory() as temporary, servers.configured(servers.SCRIPTED, Path(temporary)) as server:
        folder = Path(temporary)
        found = {name: client(name, server.url, folder) for name in CLIENTS}
        found["schemathesis"] = schemathesis(server.url, folder, examples, seed)
    command = f"python -m benchmarks.clients --examples {examples} --seed {seed}"
    (today(output) / "clients.json").write_text(json.dumps(provenance(command) | {"clients": found}, indent=2) + "\n")
    Console().print(found)
    if any(result["failed"] for result in found.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
