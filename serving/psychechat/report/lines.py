"""Lines of a file, as the turns that they hold: of `psychechat classify`, of replies, or of a saved conversation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Literal, get_args

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from psychechat.conversation import Reason
from psychechat.emotion import Group, Label
from psychechat.risk import Severity, SeverityName

MOST_BYTES = 16 * 2**20
"""Of a line, or of a saved conversation over several."""

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Valence = Annotated[int, Field(ge=-9, le=9)]
LabelName = Annotated[str, AfterValidator(lambda name: Label.parse(name).name("en"))]


@dataclass(frozen=True, slots=True)
class Turn:
    """What was detected in one utterance, and what became of the turn if there was one."""

    line: int
    valence: int
    labels: tuple[str, ...]
    groups: Mapping[str, float]
    """Probability of each emotion group, as far as the line tells."""
    level: Severity | None
    """None: unknown risk."""
    shift: int | None = None
    conversation: str = ""
    """Names the conversation; empty: the file is one."""
    held: bool = False
    mode: str = ""
    """Empty: the line is of `classify`, and nobody replied."""
    reason: str = ""
    fallback: bool = False
    rounds: int = 0
    timings: Mapping[str, float] | None = None
    seeker: str = ""
    counselor: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line without turns. Never tells what it holds."""

    line: int
    why: str


class _Open(BaseModel):
    """Only what is read here; the rest may be anything."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Classified(_Open):
    groups: Mapping[Group, Share]
    labels: tuple[LabelName, ...]
    valence: Valence
    risk_level: SeverityName


class _Emotion(_Open):
    label: LabelName
    group: Group
    probability: Share


class _State(_Open):
    held: bool


class _Risk(_Open):
    level: SeverityName | None
    conversation: _State


class _Review(_Open):
    rounds: Annotated[int, Field(ge=0)]
    fallback: bool


class _Levels(_Open):
    absent: Share


class _Stages(_Open):
    groups: Mapping[Group, _Levels] | None


class _Found(_Open):
    """`psychechat` of a reply."""

    mode: Literal["agent", "llm"]
    reason: str
    session: str | None
    emotions: tuple[_Emotion, ...]
    valence: Valence
    shift: int | None
    risk: _Risk
    review: _Review
    timings: Mapping[Annotated[str, Field(pattern="^[a-z_]{1,40}$")], Seconds]
    task: str | None = None
    stages: _Stages | None = None


_REASONS = frozenset(get_args(Reason))
_NO_TURN = "holds neither what classify writes, nor a reply with psychechat, nor a saved conversation"
_NO_FINDINGS = "is a reply without findings, as for a key with fields: minimal"


def read(file: BinaryIO) -> Iterator[Turn | Unreadable]:
    """Turns in their order. Background tasks and blank lines are left out. Memory is bounded by the longest line."""
    number, first = 0, True
    while raw := file.readline(MOST_BYTES + 1):
        number += 1
        if len(raw) > MOST_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MOST_BYTES)
            yield Unreadable(number, f"is longer than {MOST_BYTES // 2**20} MB")
            continue
        line = (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()
        if first and line == b"{":  # one object, over several lines
            line += file.read(MOST_BYTES)
            if file.read(1):
                yield Unreadable(number, f"begins an object of more than {MOST_BYTES // 2**20} MB")
                return
        if line:
            first = False
            yield from _turns(number, line)


def _turns(number: int, line: bytes) -> Iterator[Turn | Unreadable]:
    try:
        value = orjson.loads(line)
    except ValueError:
        yield Unreadable(number, "is no JSON, or no UTF-8")
        return
    if not isinstance(value, dict):
        yield Unreadable(number, "is no JSON object")
    elif value.get("psychechat_conversation") == 1 and isinstance(value.get("turns"), list):
        for turn in value["turns"]:
            yield from _saved(number, turn if isinstance(turn, dict) else {})
    elif "psychechat" in value:
        yield from _reply(number, value["psychechat"], ("", _reply_text(value)))
    elif "risk_level" in value:
        yield _classified(number, value)
    else:
        yield Unreadable(number, _NO_TURN)


def _classified(number: int, value: Mapping[str, Any]) -> Turn | Unreadable:
    try:
        found = _Classified.model_validate(value)
    except ValidationError as error:
        return Unreadable(number, _field(error))
    text = value.get("text")
    groups = {str(group): share for group, share in found.groups.items()}
    level = Severity[found.risk_level.upper()]
    return Turn(number, found.valence, found.labels, groups, level, seeker=text if isinstance(text, str) else "")


def _saved(number: int, turn: Mapping[str, Any]) -> Iterator[Turn | Unreadable]:
    seeker, counselor = (text if isinstance(text := turn.get(name), str) else "" for name in ("user", "assistant"))
    yield from _reply(number, turn.get("psychechat"), (seeker, counselor), f"saved {number}")


def _reply(number: int, told: object, said: tuple[str, str], conversation: str = "") -> Iterator[Turn | Unreadable]:
    if not isinstance(told, dict) or "mode" not in told:
        yield Unreadable(number, _NO_FINDINGS)
        return
    try:
        found = _Found.model_validate(told)
    except ValidationError as error:
        yield Unreadable(number, _field(error))
        return
    if found.task is not None:
        return
    shown = found.stages.groups if found.stages else None
    groups = (
        {str(group): 1 - levels.absent for group, levels in shown.items()}
        if shown
        else {str(emotion.group): emotion.probability for emotion in found.emotions}
    )
    yield Turn(
        number,
        found.valence,
        tuple(emotion.label for emotion in found.emotions),
        groups,
        None if found.risk.level is None else Severity[found.risk.level.upper()],
        found.shift,
        conversation or found.session or f"line {number}",
        found.risk.conversation.held,
        found.mode,
        found.reason if found.reason in _REASONS else "other",
        found.review.fallback,
        found.review.rounds,
        found.timings,
        *said,
    )


def _reply_text(completion: Mapping[str, Any]) -> str:
    match completion.get("choices"):
        case [{"message": {"content": str(text)}}, *_]:
            return text
    return ""


def _field(error: ValidationError) -> str:
    """Which field is wrong, of those that this module names; never its value."""
    place = error.errors(include_input=False, include_url=False, include_context=False)[0]["loc"]
    names = [part for part in place if isinstance(part, str) and part in _NAMES]
    return f"has no usable {'.'.join(names) or 'findings'}"


_NAMES = {name for kind in (_Classified, _Found, _Risk, _Review, _State, _Emotion) for name in kind.model_fields}
