"""What came of the clients, as docs/clients.md shows it."""

from collections.abc import Mapping
from typing import Any

from benchmarks.clients.catalogue import CLIENTS

_SCHEMATHESIS = "schemathesis, requests made from the OpenAPI document"
_HEAD = ("| client | versions | tried | failed | when |", "| --- | --- | --- | --- | --- |")


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    titles = {client.name: client.title for client in CLIENTS} | {"schemathesis": _SCHEMATHESIS}
    return "\n".join([*_HEAD, *(_row(titles[name], result) for name, result in found.items())])


def _row(title: str, result: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    return f"| {title} | {versions} | {result['tests']:,} | {result['failed']} | {result['day']} |"
