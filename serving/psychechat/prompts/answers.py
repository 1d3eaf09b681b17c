"""JSON answers of the stages: schemas that the engine enforces, and parsers into the types of `conversation`.

Keys and shapes are those of the published weights (PsychēChat's stages), so that one parser reads every pack.
Words of a fixed vocabulary are in the pack's language in the JSON, and in English in our types.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from psychechat.conversation import Draft, EmotionAnalysis, Phase, Reaction, ReactionType, Review, Verdict
from psychechat.emotion import Label, Language, distinct, label_names
from psychechat.engines.base import StageName

REACTIONS = 3
"""Reactions that are simulated per draft."""

PHASES: Mapping[Language, Mapping[Phase, str]] = {
    "en": {"exploration": "exploration", "insight": "insight", "action": "action"},
    "zh": {"exploration": "探索", "insight": "领悟", "action": "行动"},
}
REACTION_TYPES: Mapping[Language, Mapping[ReactionType, str]] = {
    "en": {"normal": "normal", "silent": "silent", "sentimental": "sentimental", "hostile": "hostile"},
    "zh": {"normal": "正常", "silent": "沉默不语", "sentimental": "多愁善感", "hostile": "暴怒嘴臭"},
}
_CANONICAL: Mapping[str, Mapping[str, str]] = {
    "phase": {word: phase for words in PHASES.values() for phase, word in words.items()},
    "reaction": {word: kind for words in REACTION_TYPES.values() for kind, word in words.items()},
}


def _words(kind: Literal["label", "phase", "reaction"], language: Language) -> list[str]:
    match kind:
        case "label":
            return label_names(language)
        case "phase":
            return list(PHASES[language].values())
        case "reaction":
            return list(REACTION_TYPES[language].values())


def _canonical(kind: str) -> BeforeValidator:
    def to_english(word: object) -> object:
        return _CANONICAL[kind].get(str(word), word)

    return BeforeValidator(to_english)


# Placeholders in the JSON schemas below; `schema` fills them in for a pack.
_LABEL = WithJsonSchema({"type": "string", "vocabulary": "label"})
_PHASE = WithJsonSchema({"type": "string", "vocabulary": "phase"})
_REACTION = WithJsonSchema({"type": "string", "vocabulary": "reaction"})
_UID = WithJsonSchema({"vocabulary": "uid"})

Note = Annotated[str, WithJsonSchema({"type": "string", "bound": "note"})]
SeekerFacing = Annotated[str, Field(pattern=r"\S"), WithJsonSchema({"type": "string", "bound": "response"})]
LabelWord = Annotated[Label, BeforeValidator(lambda word: Label.parse(str(word))), _LABEL]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class EmotionAnswer(_Answer):
    current_emotion: Annotated[list[LabelWord], Field(min_length=1, max_length=3)]
    current_analysis: Note
    recent_change: Note
    overall_trend: Note
    shift_analysis: Note

    def value(self) -> EmotionAnalysis:
        return EmotionAnalysis(
            tuple(distinct(self.current_emotion)),
            self.current_analysis,
            self.recent_change,
            self.overall_trend,
            self.shift_analysis,
        )


class DraftAnswer(_Answer):
    # Not stripped: whether a reply ends at its bound is told by its length as the engine wrote it.
    model_config = ConfigDict(str_strip_whitespace=False)

    phase: Annotated[Phase, _canonical("phase"), _PHASE]
    strategy: Note
    response: SeekerFacing

    def value(self) -> Draft:
        return Draft(self.phase, self.strategy, self.response)


class ReactionAnswer(_Answer):
    type: Annotated[ReactionType, _canonical("reaction"), _REACTION]
    response: Note

    def value(self) -> Reaction:
        return Reaction(self.type, self.response)


class SimulationAnswer(RootModel[Annotated[list[ReactionAnswer], Field(min_length=REACTIONS, max_length=REACTIONS)]]):
    def value(self) -> tuple[Reaction, ...]:
        return tuple(reaction.value() for reaction in self.root)


class VerdictAnswer(_Answer):
    uid: Annotated[int, Field(ge=1, le=REACTIONS), _UID]
    analysis: Note
    passed: bool = Field(alias="pass")


class SuggestionAnswer(_Answer):
    emotion: Note
    safety: Note


class ReviewAnswer(_Answer):
    safety_analysis: Annotated[list[VerdictAnswer], Field(min_length=REACTIONS, max_length=REACTIONS)]
    pass_flag: bool
    suggestion: SuggestionAnswer

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if {verdict.uid for verdict in self.safety_analysis} != set(range(1, REACTIONS + 1)):
            raise ValueError("each reaction needs one verdict")
        if self.pass_flag and not all(verdict.passed for verdict in self.safety_analysis):
            raise ValueError("a passed review holds a failed reaction")
        return self

    def value(self) -> Review:
        by_reaction = sorted(self.safety_analysis, key=lambda verdict: verdict.uid)
        return Review(
            tuple(Verdict(verdict.analysis, verdict.passed) for verdict in by_reaction),
            self.pass_flag,
            self.suggestion.emotion,
            self.suggestion.safety,
        )


class _Passed(VerdictAnswer):
    passed: Literal[True] = Field(alias="pass")


class _Failed(VerdictAnswer):
    passed: Literal[False] = Field(alias="pass")


class PassedAnswer(_Answer):
    """Review of one reaction that passed: without suggestions."""

    safety_analysis: Annotated[list[_Passed], Field(min_length=1, max_length=1)]


class FailedAnswer(_Answer):
    safety_analysis: Annotated[list[_Failed], Field(min_length=1, max_length=1)]
    pass_flag: Literal[False]
    suggestion: SuggestionAnswer


class LoneReviewAnswer(RootModel[PassedAnswer | FailedAnswer]):
    """Review of one reaction alone."""


_LONE: TypeAdapter[PassedAnswer | FailedAnswer | ReviewAnswer] = TypeAdapter(PassedAnswer | FailedAnswer | ReviewAnswer)

_MODELS: Mapping[StageName, type[BaseModel]] = {
    StageName.EMOTION: EmotionAnswer,
    StageName.DRAFT: DraftAnswer,
    StageName.SIMULATION: SimulationAnswer,
    StageName.REVIEW: ReviewAnswer,
}


def schema(
    stage: StageName,
    language: Language,
    *,
    note: int,
    response: int,
    reaction: int | None = None,
    replies: Sequence[str] = (),
) -> dict[str, Any]:
    """JSON schema of a stage's answer. `note` and `response` bound its strings, in characters.

    `reaction`: number, from 1, of the one reaction that a review judges; None: all of them. `replies`: of which a
    draft's is one; empty: it is free.
    """
    model = _MODELS[stage] if reaction is None else LoneReviewAnswer
    bounds = {"note": note, "response": response}
    uids = [*range(1, REACTIONS + 1)] if reaction is None else [reaction]

    def fill(node: Any) -> Any:
        if isinstance(node, list):
            return [fill(item) for item in node]
        if not isinstance(node, dict):
            return node
        node = {key: fill(value) for key, value in node.items() if key not in ("title", "description")}
        if (kind := node.pop("vocabulary", None)) is not None:
            node["enum"] = uids if kind == "uid" else _words(kind, language)
        bound = node.pop("bound", None)
        if bound == "response" and replies:
            return {"enum": [*replies]}
        if bound is not None:
            node["maxLength"] = bounds[bound]
            node["minLength"] = int(bound == "response")
        return node

    filled: dict[str, Any] = fill(model.model_json_schema())
    return filled


def parse_emotion(text: str) -> EmotionAnalysis:
    """Raises pydantic.ValidationError (a ValueError) if the text is not a valid answer, as do the parsers below."""
    return EmotionAnswer.model_validate_json(text).value()


def parse_draft(text: str) -> Draft:
    return DraftAnswer.model_validate_json(text).value()


def parse_simulation(text: str) -> tuple[Reaction, ...]:
    return SimulationAnswer.model_validate_json(text).value()


def parse_review(text: str) -> Review:
    return ReviewAnswer.model_validate_json(text).value()


def parse_lone_review(text: str, reaction: int) -> Review:
    """Review of the reaction with this number, from 1. Engines without grammars may write a review of all of them.

    Raises ValueError if this one is not judged.
    """
    answer = _LONE.validate_json(text)
    [verdict] = [verdict for verdict in answer.safety_analysis if verdict.uid == reaction]
    judged = (Verdict(verdict.analysis, verdict.passed),)
    if isinstance(answer, PassedAnswer) or verdict.passed:
        return Review(judged, verdict.passed)
    return Review(judged, False, answer.suggestion.emotion, answer.suggestion.safety)


def render(
    value: EmotionAnalysis | Draft | tuple[Reaction, ...] | Review, language: Language, indent: int | None = None
) -> str:
    """JSON of the value, the inverse of the parsers. `indent`: spaces a level; None: no white space."""
    wire: Any
    match value:
        case EmotionAnalysis():
            wire = {
                "current_emotion": [label.name(language) for label in value.labels],
                "current_analysis": value.analysis,
                "recent_change": value.recent_change,
                "overall_trend": value.overall_trend,
                "shift_analysis": value.shift_analysis,
            }
        case Draft():
            wire = {
                "phase": PHASES[language][value.phase],
                "strategy": value.strategy,
                "response": value.response,
            }
        case Review():
            wire = {
                "safety_analysis": [
                    {"uid": uid, "analysis": verdict.analysis, "pass": verdict.passed}
                    for uid, verdict in enumerate(value.verdicts, 1)
                ],
                "pass_flag": value.passed,
                "suggestion": {"emotion": value.emotional_suggestion, "safety": value.safety_suggestion},
            }
        case _:
            wire = [{"type": REACTION_TYPES[language][r.type], "response": r.response} for r in value]
    return json.dumps(wire, ensure_ascii=False, indent=indent, separators=(",", ": " if indent else ":"))
