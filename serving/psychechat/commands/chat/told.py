"""What a server tells, which may be another than ours or of another version: what has another shape is not there."""

from collections.abc import Mapping, Sequence
from typing import Any

Told = Mapping[str, Any]
_HUGE = 1e300
"""No number of ours is nearly as large, and the largest integers are no float."""


def at(told: object, *path: str) -> object:
    """The value at the end of the path; None if there is none."""
    for name in path:
        told = told.get(name) if isinstance(told, Mapping) else None
    return told


def text(told: object, *path: str) -> str:
    """Empty if there is none."""
    value = at(told, *path)
    return value if isinstance(value, str) else ""


def number(told: object, *path: str) -> float | None:
    value = at(told, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _HUGE else None


def part(told: object, *path: str) -> Told:
    """An object; empty if there is none."""
    value = at(told, *path)
    return value if isinstance(value, Mapping) else {}


def parts(told: object, *path: str) -> Sequence[Told] | None:
    """The objects in a list; None if there is no list."""
    value = at(told, *path)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else None
