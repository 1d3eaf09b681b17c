"""The chart, rendered as Helm does it."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm"
EXAMPLES = sorted((CHART / "ci").glob("*.yaml"))
KEYS = "secrets.apiKeys.existingSecret=psychechat-keys"
"""The one value without which nothing is rendered."""

Manifest = dict[str, Any]


class Refused(Exception):
    """Helm did not render it, and says why."""


@dataclass(frozen=True)
class Rendered:
    manifests: list[Manifest]

    def of_kind(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def only(self, kind: str) -> Manifest:
        [manifest] = self.of_kind(kind)
        return manifest

    @property
    def cluster(self) -> Manifest:
        spec: Manifest = self.only("RayService")["spec"]["rayClusterConfig"]
        return spec

    @property
    def pods(self) -> dict[str, Manifest]:
        """The pod templates, `head` and by group."""
        groups = {group["groupName"]: group["template"] for group in self.cluster["workerGroupSpecs"]}
        return {"head": self.cluster["headGroupSpec"]["template"], **groups}

    @property
    def serve_config(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(self.only("RayService")["spec"]["serveConfigV2"])
        return config

    @property
    def application(self) -> dict[str, Any]:
        [application] = self.serve_config["applications"]
        found: dict[str, Any] = application
        return found


@dataclass(frozen=True)
class Helm:
    program: Path

    def run(self, *arguments: str | Path) -> str:
        """Raises Refused."""
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    def render(self, *sets: str, values: Path | None = None, chart: Path = CHART) -> Rendered:
        """With these values set, in the form of `--set`. Raises Refused."""
        text = self.run("template", "rel", chart, "--namespace", "chat", *_given(sets, values))
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return Rendered([manifest for manifest in yaml.load_all(text, loader) if manifest])

    def notes(self, *sets: str, values: Path | None = None) -> str:
        """What whoever installs it reads. Raises Refused."""
        said = self.run("install", "rel", CHART, "--namespace", "chat", "--dry-run=client", *_given(sets, values))
        return said.partition("NOTES:")[2]


def _given(sets: Iterable[str], values: Path | None) -> list[str | Path]:
    arguments: list[str | Path] = ["--values", values] if values else ["--set", KEYS]
    for value in sets:
        arguments += ["--set-json" if _is_json(value.partition("=")[2]) else "--set", value]
    return arguments


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
