"""A cast: the generators that play the roles of one language's turns."""

from collections.abc import Mapping
from dataclasses import dataclass

from psychechat.config.roles import LANGUAGES, ROLES, Role
from psychechat.emotion import Language
from psychechat.engines.base import Generator


@dataclass(frozen=True, slots=True)
class Cast:
    generators: Mapping[Role, Generator]
    lane: str = "counselor"
    """Name of the admission lane of its turns."""


def everywhere(generator: Generator) -> dict[Language, Cast]:
    """One generator in every role and language."""
    return dict.fromkeys(LANGUAGES, Cast(dict.fromkeys(ROLES, generator)))
