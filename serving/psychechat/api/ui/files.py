"""The playground's files: read once, each with what its answers need."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

_TYPES: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}
_PACKED = frozenset({"woff2"})
"""What gzip makes no smaller."""


@dataclass(frozen=True, slots=True)
class Body:
    content: bytes
    etag: str
    """Strong, so another one for each encoding."""
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    media_type: str
    plain: Body
    zipped: Body | None

    @classmethod
    def of(cls, name: str, content: bytes) -> "File":
        kind = name.rpartition(".")[2]
        digest = hashlib.sha256(content).hexdigest()[:32]
        zipped = None if kind in _PACKED else Body(gzip.compress(content, mtime=0), f'"{digest}-gzip"', "gzip")
        return cls(_TYPES[kind], Body(content, f'"{digest}"'), zipped)

    def body(self, accepted: str) -> Body:
        """`accepted`: the request's accept-encoding."""
        return self.zipped if self.zipped is not None and _takes_gzip(accepted) else self.plain


def read() -> dict[str, File]:
    """By name, with its folder. Raises KeyError for a file of a kind that is not known here."""
    return dict(_walk(files(__package__) / "static", ""))


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, File]]:
    listed: list[tuple[str, File]] = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        listed += _walk(entry, f"{name}/") if entry.is_dir() else [(name, File.of(name, entry.read_bytes()))]
    return listed


def _takes_gzip(accepted: str) -> bool:
    """https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3"""
    weights: dict[str, bool] = {}
    for part in accepted.casefold().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight.replace(" ", "").rstrip("0.") != "q="
    return weights.get("gzip", weights.get("*", False))
