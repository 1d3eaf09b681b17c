"""What is wrong with settings, and how it is told."""

import yaml
from pydantic import ValidationError

_NAMED_BY_THE_OPERATOR = ("keys", "quotas")
"""Mappings whose names may be keys in the wrong place."""
_MOST = 5


class SettingsError(Exception):
    """The settings name something that is not there or not as it should be. The message says what to do."""


def complaint(error: Exception) -> str:
    """Where settings are wrong and why, fit for a log: it shows no key, and of the rest as little as it takes."""
    match error:
        case SettingsError():
            return str(error)
        case ValidationError():
            errors = error.errors(include_input=False, include_url=False, include_context=False)
            told = dict.fromkeys(_told(first["loc"], first["msg"]) for first in errors)
            return "; ".join(list(told)[:_MOST])
        case yaml.MarkedYAMLError() if error.problem_mark:  # its own message quotes the file
            return f"not YAML: line {error.problem_mark.line + 1}"
        case yaml.YAMLError():
            return "not YAML"
        case UnicodeDecodeError():
            return "not UTF-8"
        case OSError():
            return f"{error.filename} cannot be read ({type(error).__name__})"
        case _:
            return type(error).__name__


def _told(loc: tuple[int | str, ...], message: str) -> str:
    before = ("", *loc)
    parts = [
        "NAME" if above in _NAMED_BY_THE_OPERATOR else str(part)
        for above, part in zip(before, loc, strict=False)
        if not str(part).endswith("]")  # pydantic's own, of unions and validators
    ]
    where, why = ".".join(parts), message.removeprefix("Value error, ")
    return why if why.startswith(where) else f"{where}: {why}"
