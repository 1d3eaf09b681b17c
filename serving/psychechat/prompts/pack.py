"""Prompt packs: folders that define, per stage, the messages a model is sent and how it may answer.

A pack is `pack.yaml` (the `PackFile` below) beside its Jinja templates. Ours, `en` and `zh`, share one prefix
between all stages: the system text, then the conversation; only a short tail differs, so that an engine's prefix
cache serves four stages of five. Other packs may lay their messages out as their weights expect.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
import yaml
from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from psychechat.config.roles import Role
from psychechat.conversation import Conversation, Draft, EmotionAnalysis, StageInputs, Utterance
from psychechat.emotion import LABELS, MAX_LABELS, Label, Language
from psychechat.engines.base import Message, Sampling, Stage, StageName
from psychechat.prompts import answers
from psychechat.prompts.inert import Inert, inert
from psychechat.versions import short_hash

__all__ = ["BUILT_IN", "Pack", "PackFile", "TemplateError", "load", "load_all"]

BUILT_IN = Path(__file__).parent


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MessageTemplate(_Part):
    role: Literal["system", "user", "assistant"]
    file: str
    each: Literal["round"] | None = None
    """`round` repeats the message per refused round, with `round` in the template. Adjacent ones repeat as a group."""


class StageFile(_Part):
    role: Literal["counselor", "seeker"] = "counselor"
    thinks: bool = False
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Above 0 it keeps small models from repeating themselves."""
    max_tokens: Annotated[int, Field(gt=0)]
    thinks_from: Annotated[
        int, Field(gt=0, validation_alias=AliasChoices("thinks_from", "min_reply_tokens", "least_tokens"))
    ] = 1
    """Only for `reply`: a client's bound in tokens, thinking included, from which on it thinks; below it there would be
    no room for the reply. Packs of before call it `min_reply_tokens` or `least_tokens`."""
    note_characters: Annotated[int, Field(gt=0)] | None = None
    """Bound on each string of this stage's answer but the reply, instead of the pack's: so many, with the keys around
    them, should fit into `max_tokens` even at a token a character, else an answer that runs on fails its stage."""
    messages: list[Literal["history"] | MessageTemplate]
    """Prompt in order; `history` stands for the conversation as user and assistant messages."""
    each: Literal["reaction"] | None = None
    """Only for `review`: parallel requests, one per reaction; one for all where the engine has no room for them."""
    reply_prefix: str = ""
    """Text before each of the counselor's replies in `history`."""


class PackFile(_Part):
    """`pack.yaml`."""

    language: Language
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
    stages: dict[StageName, StageFile]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := set(StageName) - set(self.stages):
            raise ValueError(f"stages without an entry: {', '.join(sorted(missing))}")
        if wrong := [name for name, stage in self.stages.items() if stage.each and name is not StageName.REVIEW]:
            raise ValueError(f"only review may have a request for each reaction, not {', '.join(wrong)}")
        return self


@dataclass(frozen=True)
class Pack:
    folder: Path
    file: PackFile
    _stages: dict[tuple[StageName, bool, int | None], Stage] = field(default_factory=dict, repr=False, compare=False)

    @property
    def language(self) -> Language:
        return self.file.language

    @cached_property
    def version(self) -> str:
        """Hash of every file in the folder."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return short_hash(*(part for file in files for part in (file.name, file.read_bytes())))

    @property
    def thinks_from(self) -> int:
        return self.file.stages[StageName.REPLY].thinks_from

    @cached_property
    def hurting_suggestion(self) -> str:
        return self.file.hurting_suggestion or load(self.language).file.hurting_suggestion

    @property
    def reviews_each(self) -> bool:
        """Whether each reaction may be reviewed in a request of its own."""
        return self.file.stages[StageName.REVIEW].each is not None

    def stage(self, name: StageName, *, widened: bool = False, reaction: int | None = None) -> Stage:
        """Constraints on the stage's generation.

        `widened`: the reply's bound is doubled. `reaction`: number, from 1, of the one reaction that a review judges.
        """
        key = name, widened, reaction
        if key not in self._stages:
            self._stages[key] = self._stage(*key)
        return self._stages[key]

    def stages(self, name: StageName) -> list[Stage]:
        """Every value that `stage` can return for this name."""
        alone = range(1, answers.REACTIONS + 1) if name is StageName.REVIEW and self.reviews_each else ()
        return [
            *(self.stage(name, widened=widened) for widened in (False, True)),
            *(self.stage(name, reaction=reaction) for reaction in alone),
        ]

    def _stage(self, name: StageName, widened: bool, reaction: int | None) -> Stage:
        if name is StageName.REPLY:
            schema: Mapping[str, Any] | None = None
        else:
            response = self.response_characters(widened)
            schema = answers.schema(
                name,
                self.language,
                note=self.file.stages[name].note_characters or self.file.note_characters,
                response=response,
                reaction=reaction,
            )
        return Stage(name, self.file.stages[name].thinks, schema, language=self.language)

    def response_characters(self, widened: bool) -> int:
        return self.file.response_characters * (2 if widened else 1)

    def sampling(self, name: StageName) -> Sampling:
        stage = self.file.stages[name]
        return Sampling(stage.max_tokens, stage.temperature, frequency_penalty=stage.frequency_penalty)

    def longest(self, inputs: StageInputs, stages: Iterable[StageName] = StageName) -> list[Message]:
        """Longest of these stages' prompts, without the stage results that are added to them later."""
        bare = replace(inputs, analysis=EmotionAnalysis((), ""), draft=Draft("exploration", "", ""))
        values = self._values(bare) | {"found": LABELS[-MAX_LABELS:]}
        prompts = [self._messages(name, bare, values) for name in stages]
        return max(prompts, key=lambda messages: sum(len(message.content) for message in messages))

    def reserve(self, rounds: int, stages: Iterable[StageName] = StageName) -> int:
        """Tokens that a turn may add to `longest` of these stages: its stages' results, and a draft with its bound
        doubled.
        """
        most = {name: stage.max_tokens for name, stage in self.file.stages.items()}
        suggestion = len(self.hurting_suggestion.encode())  # no tokenizer makes more tokens of it
        a_round = most[StageName.DRAFT] + most[StageName.SIMULATION] + most[StageName.REVIEW] + suggestion
        added = {
            StageName.EMOTION: most[StageName.EMOTION],
            StageName.DRAFT: most[StageName.EMOTION] + (rounds - 1) * a_round + 2 * most[StageName.DRAFT],
            StageName.SIMULATION: a_round,
            StageName.REVIEW: a_round,
            StageName.REPLY: most[StageName.REPLY],
        }
        return max(added[name] for name in stages)

    def role(self, name: StageName) -> Role:
        """Whom the stage's answer is asked of."""
        return "seeker" if self.file.stages[name].role == "seeker" else _OF_THE_COUNSELOR[name]

    def messages(self, name: StageName, inputs: StageInputs) -> list[Message]:
        """Prompt of the stage, to be rendered by the model's chat template."""
        return self._messages(name, inputs, self._values(inputs))

    def _messages(self, name: StageName, inputs: StageInputs, values: Mapping[str, Any]) -> list[Message]:
        stage = self.file.stages[name]
        messages: list[Message] = []
        for each, parts in groupby(stage.messages, key=lambda part: None if part == "history" else part.each):
            repeated = list(parts)
            for more in [{"round": refused} for refused in inputs.rounds] if each == "round" else [{}]:
                for part in repeated:
                    if part == "history":
                        messages += _history(inputs.conversation, stage.reply_prefix)
                    else:
                        messages.append(Message(part.role, self._render(part.file, {**values, **more})))
        return messages

    def _render(self, file: str, values: Mapping[str, Any]) -> str:
        text = self._templates.get_template(file).render(values)
        return text.strip() if self.file.trim else text

    @cached_property
    def _templates(self) -> SandboxedEnvironment:
        environment = SandboxedEnvironment(
            loader=FileSystemLoader(self.folder),
            undefined=StrictUndefined,
            auto_reload=False,  # a pack does not change: no look at the file's time for each message
            trim_blocks=True,
            lstrip_blocks=True,
            # What people and models wrote enters through expressions only; a pack's own text may hold control tokens.
            finalize=lambda value: inert(value) if isinstance(value, str) else value,
        )
        environment.filters["names"] = lambda labels: self._joined(labels)
        environment.filters["answer"] = lambda value: answers.render(value, self.language)
        environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
        environment.filters["reaction"] = lambda kind: answers.REACTION_TYPES[self.language][kind]
        return environment

    def _joined(self, labels: tuple[Label, ...]) -> str:
        return (", " if self.language == "en" else "，").join(label.name(self.language) for label in labels)

    def _transcript(self, utterances: Sequence[Utterance]) -> Inert:
        return Inert("\n".join(f"{self.file.speakers[said.speaker]}：{inert(said.text)}" for said in utterances))

    def _values(self, inputs: StageInputs) -> dict[str, Any]:
        *earlier, newest = inputs.conversation.utterances
        reading = inputs.reading
        memory, severity = (reading.memory, reading.severity) if reading else (None, None)
        stated = memory.analysis if memory else None
        return {
            "operator_notes": inputs.conversation.operator_notes,
            "memory": memory if memory and memory.labels else None,
            "found": (reading.labels if reading else None) or (),
            "severity": None if severity is None else severity.label,
            "analysis": inputs.analysis,
            "draft": inputs.draft,
            "reactions": inputs.reactions,
            "rounds": inputs.rounds,
            # The names that the published prompts use.
            "history": self._transcript(earlier),
            "full_history": self._transcript(inputs.conversation.utterances),
            "seeker_utterance": newest.text,
            "emotion_memory": _indented(orjson.loads(answers.render(stated, self.language)) if stated else {}),
            "counselor_utterance": inputs.draft.response if inputs.draft else "",
            "seeker_utterances": _indented(
                [{"uid": uid, "utterance": r.response} for uid, r in enumerate(inputs.reactions, 1)]
            ),
        }


_OF_THE_COUNSELOR: Mapping[StageName, Role] = {
    StageName.EMOTION: "emotion",
    StageName.DRAFT: "counselor",
    StageName.SIMULATION: "counselor",
    StageName.REVIEW: "review",
    StageName.REPLY: "reply",
}
"""Roles of the stages that a pack does not give to the seeker."""


def load(pack: str | Path) -> Pack:
    """Built-in pack of this name, or the pack in this folder.

    Raises FileNotFoundError if there is none, pydantic.ValidationError if its `pack.yaml` is wrong.
    """
    built_in = BUILT_IN / str(pack)
    folder = built_in if built_in.is_dir() else Path(pack)
    file = folder / "pack.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.parent.name for path in BUILT_IN.glob("*/pack.yaml")))
        raise FileNotFoundError(f"no prompt pack at {folder}: expected a folder with a pack.yaml, or one of {known}")
    return Pack(folder, PackFile.model_validate(yaml.safe_load(file.read_text("utf-8"))))


def load_all(names: Mapping[Language, str]) -> dict[Language, Pack]:
    """Packs by language. Raises ValueError if a pack is in another language, and what `load` raises."""
    packs = {language: load(name) for language, name in names.items()}
    for language, pack in packs.items():
        if pack.language != language:
            raise ValueError(f"the pack for {language!r} at {pack.folder} says that its language is {pack.language!r}")
    return packs


def _history(conversation: Conversation, reply_prefix: str) -> list[Message]:
    return [
        Message("user", str(inert(utterance.text)))
        if utterance.speaker == "seeker"
        else Message("assistant", reply_prefix + str(inert(utterance.text)))
        for utterance in conversation.utterances
    ]


def _indented(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=4)
