"""One client, tried: its example as a newcomer runs it, then its check, in an environment of its own."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.clients import transcript
from benchmarks.clients.catalogue import ROOT, Client
from benchmarks.clients.services import SERVICES

_PYTEST = "pytest==8.4.2"
ALONE = ("-q", "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider")
"""Without our own tests' settings."""
LONGEST_SECONDS = 900


@dataclass(frozen=True)
class Place:
    """The environment that a client runs in."""

    folder: Path
    programs: Path
    variables: Mapping[str, str]

    def run(self, *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.variables, **more.pop("env", {})}
        return subprocess.run(command, cwd=self.folder, env=env, text=True, timeout=LONGEST_SECONDS, **more)


def tried(client: Client, folder: Path, variables: Mapping[str, str], *, scripted: bool) -> dict[str, Any]:
    """What came of it. Without scripted engines the example alone is tried: the check knows the table's replies."""
    folder.mkdir()
    place = Place(folder, _environment(client, folder), variables)
    tests, failed = _talk(client, place, scripted=scripted) if client.kind == "talk" else (0, 0)
    if scripted or client.kind != "talk":
        service = SERVICES.get(client.name)
        try:
            with service(place.programs, folder, variables) if service else nullcontext({}) as more:
                checked = _check(client, place, more)
        except (RuntimeError, subprocess.SubprocessError) as error:  # it did not start, or did not end
            print(f"{client.name}: {error}")
            checked = 1, 1
        tests, failed = tests + checked[0], failed + checked[1]
    return {"versions": _versions(client, place), "tests": tests, "failed": failed}


def _environment(client: Client, folder: Path) -> Path:
    if client.ours:
        return Path(sys.executable).parent
    if client.node:
        for file in (*client.folder.iterdir(), client.check):  # a module finds packages by where it lies itself
            shutil.copy(file, folder)
        environments.node(folder)
        return Path(shutil.which("node") or "node").parent
    needs = [client.folder / "requirements.txt"]
    return environments.made(folder / "venv", _PYTEST, files=needs, torch=client.torch)


def _talk(client: Client, place: Place, *, scripted: bool) -> tuple[int, int]:
    program = ("node", "main.mjs") if client.node else ("python", str(client.folder / "main.py"))
    ended = place.run(str(place.programs / program[0]), program[1], capture_output=True)
    told = [*transcript.complaints(ended.stdout, same=scripted)]
    if ended.returncode:
        told.append(f"it ended with {ended.returncode}: {ended.stderr[-2000:]}")
    for complaint in told:
        print(f"{client.name}: {complaint}")
    return 1, int(bool(told))


def _check(client: Client, place: Place, more: Mapping[str, str]) -> tuple[int, int]:
    report = place.folder / "junit.xml"
    place.run(*_checking(client, place, report), env={"PYTHONPATH": str(ROOT) if not client.node else "", **more})
    cases = list(ElementTree.parse(report).iter("testcase"))
    return len(cases), sum(case.find("failure") is not None or case.find("error") is not None for case in cases)


def _checking(client: Client, place: Place, report: Path) -> Sequence[str]:
    if client.node:
        reporters = ("--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=junit")
        return [
            str(place.programs / "node"),
            "--test",
            *reporters,
            f"--test-reporter-destination={report}",
            client.check.name,
        ]
    return [str(place.programs / "python"), "-m", "pytest", *ALONE, f"--junitxml={report}", str(client.check)]


def _versions(client: Client, place: Place) -> dict[str, str]:
    """Of what its example asks for, and of OpenAI's client, which many of them wrap."""
    if client.node:
        return client.pinned
    if client.kind == "page":
        return {"Chromium": place.run("chromium", "--version", capture_output=True).stdout.split()[1]}
    code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    found = place.run(str(place.programs / "python"), "-c", code, "openai", capture_output=True)
    wrapped = {"openai": found.stdout.strip()} if found.returncode == 0 else {}
    return {**client.pinned, **wrapped}
