"""A container's environment, out of its manifest: values, references to secrets, and what the pod is called."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Secrets = Mapping[str, Mapping[str, str]]
"""By name and key."""

_REFERENCE = re.compile(r"\$(\$|\((\w+)\))")


def expanded(text: str, known: Mapping[str, str]) -> str:
    """With `$(NAME)` replaced where the name is known, and `$$` by a dollar, as Kubernetes does it."""
    return _REFERENCE.sub(lambda found: "$" if found[1] == "$" else known.get(found[2], found[0]), text)


def environment(
    entries: Sequence[Mapping[str, Any]], *, secrets: Secrets, metadata: Mapping[str, Any], ip: str
) -> dict[str, str]:
    """`metadata`: the pod's name, namespace and labels. Raises KeyError for a secret that is not there."""
    found: dict[str, str] = {}
    for entry in entries:
        if "value" in entry:
            found[entry["name"]] = expanded(entry["value"], found)
            continue
        [(kind, source)] = entry["valueFrom"].items()
        if kind == "secretKeyRef":
            found[entry["name"]] = secrets[source["name"]][source["key"]]
        elif kind == "fieldRef":
            found[entry["name"]] = _field(source["fieldPath"], metadata, ip)
        else:
            raise ValueError(f"{entry['name']}: {kind} is not acted out")
    return found


def _field(path: str, metadata: Mapping[str, Any], ip: str) -> str:
    if label := re.fullmatch(r"metadata\.labels\['(.+)'\]", path):
        return str(metadata["labels"][label[1]])
    fields = {"metadata.name": metadata["name"], "metadata.namespace": metadata["namespace"], "status.podIP": ip}
    return str(fields[path])
