"""Roles: who generates what in a turn. The one place where a role becomes an engine and an adapter.

The pipeline asks for a role's generator and knows of no engine.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from psychechat.emotion import Language
from psychechat.policy import Branch

Role = Literal["counselor", "reply", "emotion", "review", "seeker"]
ROLES: tuple[Role, ...] = get_args(Role)
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True, slots=True)
class Part:
    """The weights that play a role: an engine's model, with one of the engine's adapters or without."""

    engine: str
    adapter: str | None = None

    def __str__(self) -> str:
        return f"{self.engine}/{self.adapter}" if self.adapter else self.engine


@dataclass(frozen=True)
class Casting:
    """Who plays each role, by the conversation's language."""

    parts: Mapping[Language, Mapping[Role, Part]]

    def part(self, role: Role, language: Language) -> Part:
        return self.parts[language][role]

    def lane(self, language: Language) -> str:
        """Name of the admission lane of this language's turns: their counselor's engine."""
        return self.part("counselor", language).engine

    @cached_property
    def lanes(self) -> Mapping[str, frozenset[str]]:
        """Every lane's engines: those that its turns may run on."""
        lanes: dict[str, frozenset[str]] = {}
        for language, parts in self.parts.items():
            lane = self.lane(language)
            lanes[lane] = lanes.get(lane, frozenset()) | {part.engine for part in parts.values()}
        return lanes

    @property
    def played(self) -> frozenset[Part]:
        return frozenset(part for parts in self.parts.values() for part in parts.values())


class Roles(Branch):
    """Each is `ENGINE` or `ENGINE/ADAPTER`, or one of these for each language: `{en: ENGINE, zh: ENGINE}`. One that is
    left out is played by the counselor.
    """

    counselor: str | Mapping[Language, str] | None = None
    """Writes Agent Mode's drafts, and the answers to background tasks. Left out: the one engine that there is."""
    reply: str | Mapping[Language, str] | None = None
    """Writes LLM Mode's replies."""
    emotion: str | Mapping[Language, str] | None = None
    """Analyses the seeker's emotions, in Agent Mode."""
    review: str | Mapping[Language, str] | None = None
    """Reviews drafts."""
    seeker: str | Mapping[Language, str] | None = None
    """Plays the seeker, in stages of which the prompt pack says `role: seeker`."""

    def cast(self, engines: Mapping[str, Collection[str]]) -> Casting:
        """`engines`: the names of each engine's adapters.

        Raises ValueError, with what to do, for a name that is not there and for an engine or adapter without a role.
        """
        counselor = self.counselor
        if counselor is None:
            if len(engines) > 1:
                raise ValueError(
                    f"roles.counselor is missing: name one of the engines {_listed(engines)}, or one for each language"
                )
            counselor = next(iter(engines))
        by_language: dict[Language, dict[Role, Part]] = {language: {} for language in LANGUAGES}
        for role in ROLES:
            written = getattr(self, role)
            for language, text in _by_language(role, counselor if written is None else written):
                by_language[language][role] = _part(role, text, engines)
        casting = Casting(by_language)
        _all_are_played(casting, engines)
        return casting


def _by_language(role: Role, written: str | Mapping[Language, str]) -> Iterator[tuple[Language, str]]:
    if isinstance(written, str):
        written = dict.fromkeys(LANGUAGES, written)
    if missing := [language for language in LANGUAGES if language not in written]:
        raise ValueError(f"roles.{role} has no entry for {_listed(missing)}: name an engine, or one engine for all")
    yield from written.items()


def _part(role: Role, text: str, engines: Mapping[str, Collection[str]]) -> Part:
    engine, slash, adapter = text.partition("/")
    if engine not in engines:
        told = f"roles.{role} names the engine {engine!r}, and `engines` has {_listed(engines)}: mend one of them"
        if engine in ROLES:
            told += f" (a role names no other role; without an entry {role} is the counselor's)"
        raise ValueError(told)
    if slash and adapter not in engines[engine]:
        raise ValueError(
            f"roles.{role} names the adapter {adapter!r} of the engine {engine}, and engines.{engine}.adapters has "
            f"{_listed(engines[engine])}: mend one of them"
        )
    return Part(engine, adapter or None)


def _all_are_played(casting: Casting, engines: Mapping[str, Collection[str]]) -> None:
    for engine, adapters in engines.items():
        if engine not in {part.engine for part in casting.played}:
            raise ValueError(f"engines.{engine} plays no role: name it in `roles`, or leave it out")
        for adapter in adapters:
            if Part(engine, adapter) not in casting.played:
                raise ValueError(
                    f"engines.{engine}.adapters.{adapter} plays no role: name {engine}/{adapter} in `roles`, or leave "
                    "it out"
                )


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
