"""A value of JSON as the turns that it holds: of `psychechat classify`, of replies, or of a saved conversation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from psychechat.conversation import Reason
from psychechat.emotion import Group, Label
from psychechat.risk import Severity, SeverityName, Trend

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Valence = Annotated[int, Field(ge=-9, le=9)]
LabelName = Annotated[str, AfterValidator(lambda name: Label.parse(name).name("en"))]


@dataclass(frozen=True, slots=True)
class State:
    """What the server made of the conversation's risk with this turn, as far as the line tells."""

    level: Severity | None
    peak: Severity | None
    trend: str = ""


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
    state: State | None = None
    """None: the line is of `classify`, which knows no conversation."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line, or a turn of a conversation in it, that cannot be drawn. Never tells what it holds."""

    line: int
    why: str
    turn: int = 0
    """0: the whole line."""

    @property
    def place(self) -> str:
        return f"line {self.line}, turn {self.turn}," if self.turn else f"line {self.line}"


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
    level: SeverityName | None = None
    peak: SeverityName | None = None
    trend: Trend | None = None


class _Risk(_Open):
    level: SeverityName | None
    conversation: _State


class _Review(_Open):
    rounds: Annotated[int, Field(ge=0)]
    fallback: bool


class _Levels(_Open):
    absent: Share


class _Severity(_Open):
    level: SeverityName


class _Classification(_Open):
    """Of one text, as `/v1/classify` answers."""

    emotions: tuple[_Emotion, ...]
    valence: Valence
    risk: _Severity
    groups: Mapping[Group, _Levels]


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
EXPECTED = (
    "what is read is a line of psychechat classify (which has a risk_level), a reply of the server (psychechat), or a "
    "conversation, of /save in chat (turns) or of the playground's export (messages)"
)
_WORDS = "holds words and no findings: psychechat classify adds them"
_NO_FINDINGS = "is a reply without findings, as for a key with fields: minimal, or of another server"
_NO_REPLY = "has no reply"


def turns(line: int, value: object, place: int = 0) -> Iterator[Turn | Unreadable]:
    """Turns in their order; background tasks and the pieces of a stream are left out.

    `line`: where the value stands, as the one of this `place` in a list.
    """
    if _is_piece(value):
        return
    match value:
        case {"type": "response.completed" | "response.incomplete", "response": response}:
            value = response
    if not isinstance(value, dict):
        yield Unreadable(line, f"is no JSON object; {EXPECTED}")
    elif isinstance(value.get("messages"), list) and _was_replied_to(value["messages"]):
        yield from _conversation(line, place, _exported(value["messages"]))
    elif isinstance(value.get("turns"), list):
        yield from _conversation(line, place, map(_saved, value["turns"]))
    elif "psychechat" in value:
        yield from _reply(line, value["psychechat"], ("", _reply_text(value)))
    elif "risk_level" in value:
        yield _classified(line, value)
    elif value.get("object") == "classification":
        yield _classification(line, value)
    elif value.get("object") == "list" and isinstance(value.get("data"), list):
        yield from (_classification(line, each) for each in value["data"])
    elif {"choices", "output"} & value.keys():
        yield Unreadable(line, _NO_FINDINGS)
    elif {"text", "content", "messages"} & value.keys():
        yield Unreadable(line, _WORDS)
    else:
        yield Unreadable(line, f"holds nothing that is known here; {EXPECTED}")


def _is_piece(value: object) -> bool:
    """Of a stream, whose last one tells all."""
    match value:
        case {"object": "chat.completion.chunk", **more}:
            return "psychechat" not in more
        case {"type": "response.completed" | "response.incomplete"}:
            return False
        case {"type": str(kind)}:
            return kind.startswith("response.")
    return False


Said = tuple[str, str, object]
"""What the seeker said and what was replied, and the reply's `psychechat`; None: nothing was."""


def _was_replied_to(messages: Sequence[object]) -> bool:
    return any(isinstance(message, dict) and "psychechat" in message for message in messages)


def _exported(messages: Sequence[object]) -> Iterator[Said]:
    """As the playground writes them; what was asked twice is two turns."""
    asked: str | None = None
    for message in messages:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        text = content if isinstance(content, str) else ""
        if role == "user":
            if asked is not None:
                yield asked, "", None
            asked = text
        elif role == "assistant" and isinstance(message, dict):
            yield asked or "", text, message.get("psychechat", {})
            asked = None
    if asked is not None:
        yield asked, "", None


def _saved(turn: object) -> Said:
    """As `/save` writes it."""
    fields = turn if isinstance(turn, dict) else {}
    seeker, counselor = (text if isinstance(text := fields.get(name), str) else "" for name in ("user", "assistant"))
    return seeker, counselor, fields.get("psychechat", {})


def _conversation(line: int, place: int, said: Iterator[Said]) -> Iterator[Turn | Unreadable]:
    for number, (seeker, counselor, findings) in enumerate(said, 1):
        if findings is None and not counselor:
            yield Unreadable(line, _NO_REPLY, number)
        else:
            yield from _reply(line, findings, (seeker, counselor), f"saved {line}.{place}", number)


def _classified(number: int, value: Mapping[str, Any]) -> Turn | Unreadable:
    try:
        classified = _Classified.model_validate(value)
    except ValidationError as error:
        return Unreadable(number, _field(error))
    text = value.get("text")
    groups = {str(group): share for group, share in classified.groups.items()}
    level = Severity[classified.risk_level.upper()]
    return Turn(
        number, classified.valence, classified.labels, groups, level, seeker=text if isinstance(text, str) else ""
    )


def _classification(number: int, value: object) -> Turn | Unreadable:
    try:
        classification = _Classification.model_validate(value)
    except ValidationError as error:
        return Unreadable(number, _field(error))
    labels = tuple(emotion.label for emotion in classification.emotions)
    return Turn(
        number,
        classification.valence,
        labels,
        _present(classification.groups),
        Severity[classification.risk.level.upper()],
    )


def _present(groups: Mapping[Group, _Levels]) -> Mapping[str, float]:
    return {str(group): 1 - levels.absent for group, levels in groups.items()}


def _reply(
    number: int, told: object, said: tuple[str, str], conversation: str = "", turn: int = 0
) -> Iterator[Turn | Unreadable]:
    """`conversation` and `turn`: its name and number in what was saved."""
    if not isinstance(told, dict) or "mode" not in told:
        yield Unreadable(number, _NO_FINDINGS, turn)
        return
    try:
        findings = _Found.model_validate(told)
    except ValidationError as error:
        yield Unreadable(number, _field(error), turn)
        return
    if findings.task is not None:
        return
    state, shown = findings.risk.conversation, findings.stages.groups if findings.stages else None
    groups = _present(shown) if shown else {str(emotion.group): emotion.probability for emotion in findings.emotions}
    yield Turn(
        number,
        findings.valence,
        tuple(emotion.label for emotion in findings.emotions),
        groups,
        _severity(findings.risk.level),
        findings.shift,
        conversation or findings.session or f"line {number}",
        state.held,
        findings.mode,
        findings.reason if findings.reason in _REASONS else "other",
        findings.review.fallback,
        findings.review.rounds,
        findings.timings,
        *said,
        State(_severity(state.level), _severity(state.peak), state.trend or ""),
    )


def _severity(name: SeverityName | None) -> Severity | None:
    return None if name is None else Severity[name.upper()]


def _reply_text(reply: Mapping[str, Any]) -> str:
    """Of a chat completion or a response."""
    match reply:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
        case {"output": [{"content": [{"text": str(text)}, *_]}, *_]}:
            return text
    return ""


def _field(error: ValidationError) -> str:
    """Which field is wrong, of those that this module names; never its value."""
    place = error.errors(include_input=False, include_url=False, include_context=False)[0]["loc"]
    names = [part for part in place if isinstance(part, str) and part in _NAMES]
    return f"has no usable {'.'.join(names) or 'findings'}"


_KINDS = (_Classified, _Classification, _Found, _Risk, _Review, _State, _Emotion)
_NAMES = {name for kind in _KINDS for name in kind.model_fields}
