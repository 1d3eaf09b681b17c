"""`pack.yaml`: what a prompt pack says of its stages, and of the weights that it is for."""

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from psychechat.config.roles import Role
from psychechat.emotion import Language
from psychechat.engines.base import StageName


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MessageTemplate(_Part):
    role: Literal["system", "user", "assistant"]
    file: str
    each: Literal["round"] | None = None
    """`round` repeats the message per refused round, with `round` in the template. Adjacent ones repeat as a group."""


Part = Literal["history"] | MessageTemplate


class JsonForm(_Part):
    """How the weights write JSON. The grammar allows this form alone, and results re-enter a history in it."""

    indent: Annotated[int, Field(gt=0, le=8)] | None = None
    """Spaces a level, as `json.dumps` writes it; None: no white space at all."""


class Retries(_Part):
    """How a malformed answer is asked for again: so much warmer each time, up to `most`. A stage that began warmer than
    that stays as warm as it is."""

    step: Annotated[float, Field(gt=0, le=2)] = 0.7
    most: Annotated[float, Field(gt=0, le=2)] = 0.7

    def warmer(self, temperature: float) -> float:
        return max(temperature, min(self.most, round(temperature + self.step, 3)))


class StageFile(_Part):
    role: Literal["counselor", "seeker"] = "counselor"
    thinks: bool = False
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Above 0 it keeps small models from repeating themselves."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """None, here and of the next three: what the checkpoint's `generation_config.json` says, if it says anything."""
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(gt=0)]
    thinks_from: Annotated[
        int, Field(gt=0, validation_alias=AliasChoices("thinks_from", "min_reply_tokens", "least_tokens"))
    ] = 1
    """Only for `reply`: a client's bound in tokens, thinking included, from which on it thinks; below it there would be
    no room for the reply. Packs of before call it `min_reply_tokens` or `least_tokens`."""
    note_characters: Annotated[int, Field(gt=0)] | None = None
    """Bound on each string of this stage's answer but the reply, instead of the pack's: so many, with the keys around
    them, should fit into `max_tokens` even at a token a character, else an answer that runs on fails its stage."""
    messages: list[Part]
    """Prompt in order; `history` stands for the conversation as user and assistant messages."""
    each: Literal["reaction"] | None = None
    """Only for `review`: parallel requests, one per reaction; one for all where the engine has no room for them."""
    reply_prefix: str = ""
    """Text before each of the counselor's replies in `history`."""
    history: Literal["replies", "full"] = "replies"
    """What `history` shows of earlier turns. `full`, from memory: before a reply of Agent Mode those of the stage's
    messages that follow `history`, with what that turn had made at its end, but not what was detected in it; in `reply`
    what LLM Mode thought."""
    history_tokens: PositiveInt = 8192
    """About how much of that there may be. The oldest turns are left out first. Memory keeps as much a session."""


class PackFile(_Part):
    language: Language
    default: bool = False
    """Whether conversations in which no message is clearly in any language are this pack's, where the settings'
    `default_language` says nothing."""
    own_weights: frozenset[Role] = frozenset()
    """Roles beside the counselor whose stages were written for weights of their own. Where the counselor plays one, a
    notice at the start says so."""
    note_characters: Annotated[int, Field(gt=0)]
    """Bound on every string of a JSON answer but the reply."""
    response_characters: Annotated[int, Field(gt=0)]
    """Bound on the reply in a draft."""
    speakers: dict[Literal["seeker", "counselor"], str] = {"seeker": "Seeker", "counselor": "Counselor"}
    """Speaker names where the conversation is rendered as text."""
    trim: bool = True
    """Drop the white space around each rendered message."""
    hurting_suggestion: str = ""
    """What the next draft is told, beside the review's suggestions, of one that the classifier's third head refused.
    Empty: the sentence of the built-in pack in this language."""
    json_form: Annotated[JsonForm, Field(validation_alias=AliasChoices("json", "json_form"))] = JsonForm()
    blank_line: bool = False
    """Whether the weights write a blank line between `</think>` and JSON."""
    retries: Retries = Retries()
    rounds: PositiveInt = 2
    """Drafts that may be written in a turn, where `policy.limits.rounds` says nothing."""
    stages: dict[StageName, StageFile]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := set(StageName) - set(self.stages):
            raise ValueError(f"stages without an entry: {', '.join(sorted(missing))}")
        if wrong := [name for name, stage in self.stages.items() if stage.each and name is not StageName.REVIEW]:
            raise ValueError(f"only review may have a request for each reaction, not {', '.join(wrong)}")
        bare = [
            name for name, stage in self.stages.items() if stage.history == "full" and "history" not in stage.messages
        ]
        if bare:
            raise ValueError(f"history: full needs `history` among the messages, which {', '.join(bare)} has not")
        return self
