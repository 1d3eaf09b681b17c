"""What an example that talks has printed: sections, each under a line such as `-- plain`."""

import re
from collections.abc import Mapping, Sequence

HELP = "local emergency number"
"""A crisis without a locale is told of it."""


def sections(printed: str) -> Mapping[str, str]:
    _, *pieces = re.split(r"^-- (\w+)\n", printed, flags=re.M)
    return dict(zip(pieces[::2], (piece.strip() for piece in pieces[1::2]), strict=True))


def complaints(printed: str, *, same: bool) -> Sequence[str]:
    """`same`: the engines' answers are from a table, so that a reply is the same plain and streamed."""
    found = sections(printed)
    told = []
    for name in ("plain", "stream", "crisis"):
        if not found.get(name):
            told.append(f"nothing under {name}")
    if same and found.get("plain") != found.get("stream"):
        told.append("the stream is another reply than the plain one")
    for name in ("crisis", "resources"):
        if HELP not in found.get(name, HELP):
            told.append(f"no {HELP} under {name}")
    return told
