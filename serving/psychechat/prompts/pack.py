"""Prompt packs: folders that define, per stage, the messages a model is sent and how it may answer.

A pack is `pack.yaml` (a `PackFile`) beside its Jinja templates. Ours, `en` and `zh`, share one prefix
between all stages: the system text, then the conversation; only a short tail differs, so that an engine's prefix
cache serves four stages of five. Other packs may lay their messages out as their weights expect.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from psychechat import reply_bank
from psychechat.config.roles import Role
from psychechat.conversation import Conversation, Draft, EmotionAnalysis, PastTurn, Round, StageInputs, Utterance
from psychechat.emotion import LABELS, MAX_LABELS, Label, Language
from psychechat.engines.base import Message, Sampling, Stage, StageName
from psychechat.engines.thinking import CLOSE, OPEN
from psychechat.prompts import answers
from psychechat.prompts.earlier import shown
from psychechat.prompts.inert import Inert, inert
from psychechat.prompts.pack_file import MessageTemplate, PackFile, Part
from psychechat.reply_bank import Bank
from psychechat.versions import short_hash

__all__ = ["BUILT_IN", "Pack", "TemplateError", "default_language", "load", "load_all"]

BUILT_IN = Path(__file__).parent

_NO_BANKS: Mapping[Language, str] = MappingProxyType({})


@dataclass(frozen=True)
class Pack:
    folder: Path
    file: PackFile
    bank: Bank | None = None
    """Whose replies are all that the counselor may give. None: it writes its own."""
    _stages: dict[tuple[StageName, bool, int | None], Stage] = field(default_factory=dict, repr=False, compare=False)

    @property
    def language(self) -> Language:
        return self.file.language

    @cached_property
    def version(self) -> str:
        """Hash of every file in the folder."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        bank = (self.bank.version,) if self.bank else ()
        return short_hash(*(part for file in files for part in (file.name, file.read_bytes())), *bank)

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

    @property
    def keeps_thinking(self) -> bool:
        """Whether a reply's thinking is shown in later turns."""
        return self.file.stages[StageName.REPLY].history == "full"

    def latest(self, turns: Sequence[PastTurn]) -> tuple[PastTurn, ...]:
        """Those of the turns, oldest first, that a stage would show again; none if the pack shows none."""
        by_place = dict(enumerate(turns))
        places = {place for name in StageName for place in shown(name, self.file.stages[name], by_place)}
        return tuple(turns[place] for place in sorted(places))

    def stage(self, name: StageName, *, widened: bool = False, reaction: int | None = None) -> Stage:
        """Constraints on the stage's generation.

        `widened`: the reply's bound is doubled. `reaction`: number, from 1, of the one reaction that a review judges.
        """
        key = name, widened, reaction
        if key not in self._stages:
            self._stages[key] = self._stage(*key)
        return self._stages[key]

    def stage_for(
        self, name: StageName, inputs: StageInputs, *, widened: bool = False, reaction: int | None = None
    ) -> Stage:
        """As `stage`; where there is a bank, with the replies of it that may be given to these inputs."""
        stage = self.stage(name, widened=widened, reaction=reaction)
        if self.bank is None or name not in (StageName.REPLY, StageName.DRAFT):
            return stage
        replies = reply_bank.choices(self.bank, inputs)
        if name is StageName.REPLY:
            return replace(stage, choices=replies)
        return replace(stage, schema=self._schema(name, widened, reaction, replies))

    def stages(self, name: StageName) -> list[Stage]:
        """Every value that `stage` can return for this name."""
        alone = range(1, answers.REACTIONS + 1) if name is StageName.REVIEW and self.reviews_each else ()
        return [
            *(self.stage(name, widened=widened) for widened in (False, True)),
            *(self.stage(name, reaction=reaction) for reaction in alone),
        ]

    def _stage(self, name: StageName, widened: bool, reaction: int | None) -> Stage:
        return Stage(
            name,
            self.file.stages[name].thinks,
            None if name is StageName.REPLY else self._schema(name, widened, reaction),
            language=self.language,
            indent=self.file.json_form.indent,
            blank_line=self.file.blank_line,
        )

    def _schema(
        self, name: StageName, widened: bool, reaction: int | None, replies: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        return answers.schema(
            name,
            self.language,
            note=self.file.stages[name].note_characters or self.file.note_characters,
            response=self.response_characters(widened),
            reaction=reaction,
            replies=replies,
        )

    def response_characters(self, widened: bool) -> int:
        return self.file.response_characters * (2 if widened else 1)

    def sampling(self, name: StageName) -> Sampling:
        """Of the first try."""
        stage = self.file.stages[name]
        return Sampling(
            stage.max_tokens,
            stage.temperature,
            top_p=stage.top_p,
            top_k=stage.top_k,
            min_p=stage.min_p,
            frequency_penalty=stage.frequency_penalty,
            repetition_penalty=stage.repetition_penalty,
        )

    def warmer(self, sampling: Sampling) -> Sampling:
        """Of the try after one whose answer was malformed."""
        return replace(sampling, temperature=self.file.retries.warmer(sampling.temperature))

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
        parts = self.file.stages[name].messages
        at = parts.index("history") if "history" in parts else len(parts)
        messages = self._rendered(parts[:at], inputs.rounds, values)
        if at < len(parts):
            messages += self._history(name, inputs, parts[at + 1 :])
        return messages + self._rendered(parts[at + 1 :], inputs.rounds, values)

    def _history(self, name: StageName, inputs: StageInputs, after: Sequence[Part]) -> Iterator[Message]:
        """The conversation, with what the stage shows of earlier turns. `after`: its messages behind the history."""
        conversation, stage = inputs.conversation, self.file.stages[name]
        prefix, again = stage.reply_prefix, shown(name, stage, inputs.earlier)
        for place, utterance in enumerate(conversation.utterances):
            text = str(inert(utterance.text))
            if utterance.speaker == "seeker":
                yield Message("user", text)
            elif (turn := again.get(place)) is None or not place:
                yield Message("assistant", prefix + text)
            elif name is StageName.REPLY:
                yield Message("assistant", f"{OPEN}\n{inert(turn.thinking)}\n{CLOSE}\n\n{text}")
            else:
                until = replace(conversation, utterances=conversation.utterances[:place])
                yield from self._rendered(after, turn.rounds, self._values(_at_its_end(until, turn)))
                yield Message("assistant", prefix + text)

    def _rendered(self, parts: Sequence[Part], rounds: Sequence[Round], values: Mapping[str, Any]) -> list[Message]:
        messages: list[Message] = []
        templates = [part for part in parts if isinstance(part, MessageTemplate)]
        for each, group in groupby(templates, key=lambda part: part.each):
            repeated = list(group)
            for more in [{"round": made} for made in rounds] if each == "round" else [{}]:
                messages += [Message(part.role, self._render(part.file, {**values, **more})) for part in repeated]
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
        environment.filters["answer"] = lambda value: answers.render(value, self.language, self.file.json_form.indent)
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
            "act": reading.act if reading else None,
            "subject": reading.subject if reading else None,
            "analysis": inputs.analysis,
            "analysis_age": memory.analysis_age if memory and stated else 0,
            "draft": inputs.draft,
            "reactions": inputs.reactions,
            "rounds": inputs.rounds,
            # The names that the published prompts use.
            "history": self._transcript(earlier),
            "full_history": self._transcript(inputs.conversation.utterances),
            "seeker_utterance": newest.text,
            "emotion_memory": answers.render(stated, self.language, 4) if stated else "{}",
            "counselor_utterance": inputs.draft.response if inputs.draft else "",
            "seeker_utterances": _indented(
                [{"uid": uid, "utterance": r.response} for uid, r in enumerate(inputs.reactions, 1)]
            ),
        }


def _at_its_end(until: Conversation, turn: PastTurn) -> StageInputs:
    """What an earlier turn of Agent Mode had made; what was detected in it is not known any more."""
    last = turn.rounds[-1] if turn.rounds else None
    return StageInputs(
        until,
        analysis=turn.analysis,
        draft=last.draft if last else None,
        reactions=last.reactions if last else (),
        rounds=turn.rounds,
    )


_OF_THE_COUNSELOR: Mapping[StageName, Role] = {
    StageName.EMOTION: "emotion",
    StageName.DRAFT: "counselor",
    StageName.SIMULATION: "counselor",
    StageName.REVIEW: "review",
    StageName.REPLY: "reply",
}
"""Roles of the stages that a pack does not give to the seeker."""


def load(pack: str | Path, bank: Bank | None = None) -> Pack:
    """Built-in pack of this name, or the pack in this folder. `bank`: of the only replies that may be given with it.

    Raises FileNotFoundError if there is none, pydantic.ValidationError if its `pack.yaml` is wrong.
    """
    built_in = BUILT_IN / str(pack)
    folder = built_in if built_in.is_dir() else Path(pack)
    file = folder / "pack.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.parent.name for path in BUILT_IN.glob("*/pack.yaml")))
        raise FileNotFoundError(f"no prompt pack at {folder}: expected a folder with a pack.yaml, or one of {known}")
    return Pack(folder, PackFile.model_validate(yaml.safe_load(file.read_text("utf-8"))), bank)


def default_language(packs: Mapping[Language, Pack]) -> Language:
    """Of conversations in which no message is clearly in any language: the pack's that asks for them, else English."""
    return next((language for language, pack in packs.items() if pack.file.default), "en")


def load_all(names: Mapping[Language, str], banks: Mapping[Language, str] = _NO_BANKS) -> dict[Language, Pack]:
    """Packs by language, with the reply bank of those that have one.

    Raises ValueError if a pack or a bank is in another language, and what `load` and `reply_bank.load` raise.
    """
    loaded = reply_bank.load_all(banks)
    packs = {language: load(name, loaded.get(language)) for language, name in names.items()}
    for language, pack in packs.items():
        if pack.language != language:
            raise ValueError(f"the pack for {language!r} at {pack.folder} says that its language is {pack.language!r}")
    return packs


def _indented(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=4)
