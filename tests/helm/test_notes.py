"""What whoever installs the chart reads: what must be there, and the way to a first turn."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from psychechat.api.chat.protocol import ChatRequest
from tests.helm.charts import CHART, EXAMPLES, Helm, Manifest
from tests.helm.test_models import secrets_told

ALSO = (
    "secrets.huggingFace.existingSecret=hf",
    "rayCluster.authOptions.secretName=ray-token",
    "podMonitor.enabled=true",
    "podMonitor.ingress=true",
    'podMonitor.bearerTokenSecret={"name": "scraper", "key": "key"}',
)


def named(part: Any) -> Iterator[tuple[str, str | None]]:
    """The secrets that a manifest names, each with the key that it names."""
    if isinstance(part, list):
        for each in part:
            yield from named(each)
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        if key in ("secretKeyRef", "credentials"):
            yield value["name"], value["key"]
        elif key == "imagePullSecrets":
            yield from ((each["name"], None) for each in value)
        elif key == "secretName":
            yield value, None
        else:
            yield from named(value)


@pytest.mark.parametrize(
    ("values", "sets"),
    [(None, ALSO), *((example, ()) for example in EXAMPLES)],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_they_list_every_secret_that_is_asked_for_and_no_other(
    values: Path | None, sets: tuple[str, ...], helm: Helm
) -> None:
    asked: dict[str, set[str]] = {}
    rendered = helm.render(*sets, values=values)
    for name, key in named(rendered.manifests):
        asked.setdefault(name, set()).update({key} if key else set())
    told = secrets_told(helm.notes(*sets, values=values))
    assert set(told) == set(asked)
    for name, keys in asked.items():
        assert keys <= told[name]
    # The mounted ones are read by the path that the settings name.
    for path in _paths(rendered.application["args"]):
        assert any(path.endswith(f"/{key}") for keys in told.values() for key in keys), path


def _paths(args: Manifest) -> list[str]:
    return [
        value
        for branch in args.values()
        if isinstance(branch, dict)
        for value in branch.values()
        if isinstance(value, str) and value.startswith("/etc/psychechat/")
    ]


def test_they_lead_to_a_turn(helm: Helm) -> None:
    notes = helm.notes("app.port=9000")
    _, _, command = notes.partition("curl ")
    curl = shlex.split("curl " + command.partition("}'")[0].replace("\\\n", " ") + "}'")
    body = json.loads(curl[curl.index("-d") + 1])
    assert ChatRequest.model_validate(body).messages
    service = helm.render("app.port=9000").only("RayService")["spec"]["serveService"]["metadata"]["name"]
    assert f"port-forward service/{service} 9000" in notes
    assert curl[1] == "http://127.0.0.1:9000/v1/chat/completions"


def test_they_say_what_a_cluster_that_is_never_replaced_takes(helm: Helm) -> None:
    for example, replaced in (("single-gpu", False), ("psychechat", False), ("production", True)):
        notes = helm.notes(values=CHART / f"ci/{example}-values.yaml")
        assert ("delete raycluster" in notes) != replaced


@pytest.mark.parametrize("given", ["nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb", None])
def test_they_say_once_what_nodes_with_gpus_need(given: str | None, helm: Helm) -> None:
    """By the rule by which pods see any."""
    limits = {"cpu": 4} | ({given: 1} if given else {})
    notes = helm.notes(f"workerGroups.engines.resources.limits={json.dumps(limits)}")
    said = int(given is not None)
    assert notes.count("driver") == said
    assert notes.count("No GPU has run this server yet") == said
