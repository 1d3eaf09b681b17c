"""What may change while turns run: thresholds, routing, limits, admission, the crisis table and the output guard.

A settings file's `policy` branch. It is swapped whole, between turns.
"""

import re
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError, model_validator

from psychechat import fast_yaml
from psychechat.conversation import PhraseCause, Thresholds
from psychechat.emotion import Group, Language
from psychechat.help import fixed_words
from psychechat.help import resources as help_table
from psychechat.help.entry import Entry
from psychechat.risk import Severity
from psychechat.tasks.template import TaskTemplate, WrittenTemplate, known
from psychechat.versions import short_hash

Probability = Annotated[float, Field(ge=0, le=1)]
_PROBABILITY: TypeAdapter[float] = TypeAdapter(Probability)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Alias = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$")]
"""A model's name as other servers have them, such as `openai/gpt-4o` or `qwen3:8b`."""

Model = Literal["psychechat", "psychechat-agent", "psychechat-llm"]
"""What a turn may ask for."""


MOST_MESSAGES = 2_048
"""That are looked at in any request, the last ones."""


class Branch(Entry):
    """Of a settings file."""


class EmotionThresholds(Branch):
    """An emotion group is present from this probability on. The defaults are the demo heads', as those of risk are."""

    joy: Probability = 0.36
    trust: Probability = 0.24
    fear: Probability = 0.3
    surprise: Probability = 0.2
    sadness: Probability = 0.34
    disgust: Probability = 0.18
    anger: Probability = 0.22
    anticipation: Probability = 0.32

    @property
    def by_group(self) -> Mapping[Group, float]:
        return {group: getattr(self, group) for group in Group}


class RiskThresholds(Branch):
    """A severity is reached when the probability of it or worse reaches its threshold.

    The defaults are the demo heads': `models/results/classifier.json` has what they cost. Other heads need their own.
    """

    indicator: Probability = 0.65
    ideation: Probability = 0.44
    behavior: Probability = 0.65
    attempt: Probability = 0.65
    veto_below: Probability | None = None
    """A listed phrase is overruled, and no crisis, if P(ideation or worse) is below this for the sentence that holds it
    and for it with its neighbours. 0: never. Null: 0.05 with the demo heads, never with others."""
    conversation: Literal["on", "observe", "off"] = "on"
    """Whether a crisis holds the conversation. `observe`: it is told and changes nothing."""

    @property
    def by_severity(self) -> Mapping[Severity, float]:
        return {
            Severity.INDICATOR: self.indicator,
            Severity.IDEATION: self.ideation,
            Severity.BEHAVIOR: self.behavior,
            Severity.ATTEMPT: self.attempt,
        }


class Routing(Branch):
    raised_from: Literal["indicator", "ideation", "behavior", "attempt"] = "indicator"
    """From this severity on `psychechat` takes Agent Mode."""
    sharp_shift: Annotated[int, Field(le=-1)] = -3
    """A valence shift of this or less takes Agent Mode too."""

    @property
    def raised(self) -> Severity:
        return Severity[self.raised_from.upper()]


class ReviewRules(Branch):
    """What the review of a draft asks besides the model that reviews it, and of LLM Mode's sentences too."""

    hurting_at: Probability | None = None
    """From this P(hurting) on the classifier's third head refuses what a model wrote. 1: never. Null: the demo
    heads' own value with these, never with others. Heads without a third refuse nothing."""

    @property
    def threshold(self) -> float | None:
        """None where the head is not asked."""
        return None if self.hurting_at == 1 else self.hurting_at


class Limits(Branch):
    turn_seconds: PositiveFloat = 90.0
    """One deadline for the whole turn: queueing, all stages, all rounds."""
    classify_seconds: PositiveFloat = 10.0
    """After this the turn goes on with unknown risk."""
    rounds: PositiveInt | None = None
    """Drafts that may be written before fixed words answer. Null: as many as the turn's prompt pack says, 2 in ours."""
    keep_alive_seconds: PositiveFloat = 5.0
    """A stream that has had nothing to say for this long sends a comment, so that nothing between closes it."""
    stage_attempts: PositiveInt = 3
    """Tries of one stage whose answer is malformed, each warmer as the pack says, a reply's without thinking."""
    messages: Annotated[int, Field(gt=0, le=MOST_MESSAGES)] = 512
    message_characters: PositiveInt = 32_000
    """In one message, and in all that the seeker said since the last reply."""
    operator_characters: PositiveInt = 4_000
    texts: PositiveInt = 4_096
    """In one request to classify or to moderate. Each may have `message_characters`."""
    body_bytes: PositiveInt = 1_000_000
    body_seconds: PositiveFloat = 20.0
    """A body that takes longer to arrive is a 408."""


class Admission(Branch):
    """What one ingress replica lets through, and how many wait for how long. Nobody in a crisis is refused by it."""

    tokens: PositiveInt = 16_384
    """Of messages that are being classified at once, roughly counted."""
    door_seconds: PositiveFloat = 5.0
    """How long a message waits for its classification before the turn is a 429."""
    waiting: PositiveInt = 256
    """How many wait for their classification, and how many for their generation."""
    generation_seconds: PositiveFloat = 15.0
    """How long a turn then waits for an engine before it is a 429."""
    crisis_seconds: PositiveFloat = 5.0
    """How long a crisis turn waits, ahead of all others, before its fixed words are all of the reply."""
    crisis_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Of the sequences that the engines take: kept for crisis turns, at least one."""

    def ordinary(self, generations: int) -> int:
        """What other turns may hold of so many sequences."""
        return generations - max(1, round(generations * self.crisis_share))


class Quota(Branch):
    """What one key may ask for, at each ingress replica. Crises have a number of their own, and none is refused."""

    turns_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    """Prompt and completion of all stages. A turn under way is never cut; the next one waits."""
    turns_at_once: PositiveInt | None = None
    crises_per_minute: PositiveInt | None = 10
    """Crisis turns that the engines write for. Beyond it fixed words and resources are all of the reply, at once. Null:
    no bound."""


@cache
def _table(name: str) -> dict[str, Any]:
    """Phrases of the policy, as the package ships them."""
    table: dict[str, Any] = fast_yaml.load(files("psychechat").joinpath("safety", f"{name}.yaml").read_text("utf-8"))
    return table


def _over_shipped(words: object) -> object:
    """Each language's own words laid over the package's, so that one sentence can be changed alone."""
    if not isinstance(words, Mapping):
        return words
    known = {language: found.model_dump() for language, found in fixed_words.shipped().items()}
    return known | {language: _laid_over(known.get(language), own) for language, own in words.items()}


def _laid_over(below: object, own: object) -> object:
    if isinstance(own, fixed_words.Words):
        return own
    if not isinstance(below, Mapping) or not isinstance(own, Mapping):
        return own
    return {**below, **{name: _laid_over(below.get(name), text) for name, text in own.items()}}


def _by_language(name: str, table: object) -> Mapping[str, Any]:
    if table is not None and not isinstance(table, Mapping):
        raise ValueError(f"crisis.{name} is a table of languages")
    return table or {}


class Crisis(Branch):
    """Fixed words, and whom to turn to. None of it ever comes from a model."""

    backstop: Mapping[Language, tuple[Annotated[str, Field(min_length=2)], ...]] = Field(
        default_factory=lambda: {language: tuple(lines) for language, lines in _table("crisis")["backstop"].items()}
    )
    """Phrases that make a turn a crisis whatever the classifier says, or while it is down."""
    words: Annotated[Mapping[str, fixed_words.Words], BeforeValidator(_over_shipped)] = Field(
        default_factory=lambda: dict(fixed_words.shipped())
    )
    """By language; what is left out stays the package's."""
    resources: Annotated[help_table.Table, BeforeValidator(help_table.parse)] = Field(
        default_factory=help_table.shipped
    )
    """By place: `en-US`, then `en`, then `intl`. A table here replaces the package's."""

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, fields: object) -> object:
        """`template` and `introduction`, by language, were fields of their own once."""
        if not isinstance(fields, Mapping):
            return fields
        rest, words = dict(fields), dict(_by_language("words", fields.get("words")))
        for name in ("template", "introduction"):
            for language, text in _by_language(name, rest.pop(name, None)).items():
                words[language] = {name: text, **_by_language("words", words.get(language))}
        return {**rest, "words": words} if words else rest

    @model_validator(mode="after")
    def _every_language(self) -> Self:
        for language in get_args(Language):
            if language not in self.backstop:
                raise ValueError(f"crisis.backstop has no entry for {language!r}")
        if "en" not in self.resources and help_table.INTERNATIONAL not in self.resources:
            raise ValueError("crisis.resources has no generic entry: 'en' or 'intl'")
        return self


_WORD = r"(?:~|[^\s()|~!]+(?:\|[^\s()|~!]+)*|\([^()|~!]+(?:\|[^()|~!]+)*\))"
_LINE = re.compile(rf"(?:!\s*)?{_WORD}(?:\s+{_WORD})*")


class GuardRules(Branch):
    """What the output guard looks for. `guard.yaml` says how its lines are read."""

    words: Mapping[str, tuple[str, ...]] = {}
    """Lists of words that a line names as `<name>`."""
    phrases: Mapping[PhraseCause, Mapping[Language, tuple[str, ...]]]
    excuses: Mapping[PhraseCause | Literal["any"], Mapping[Language, tuple[str, ...]]] = {}
    """Before a phrase, in its clause, these let it pass; `any` holds for every cause."""
    refusals: Mapping[Language, tuple[str, ...]] = {}
    """These let their whole sentence pass."""
    simplified: Mapping[Annotated[str, Field(min_length=1, max_length=1)], str] = {}
    """Traditional characters to the ones that the lines are written in."""

    def __hash__(self) -> int:
        """So that what is made from rules can be kept; the fields are mappings, which have no hash."""
        return hash(frozenset(self.words))

    @model_validator(mode="after")
    def _known_words(self) -> Self:
        tables = [*self.phrases.values(), *self.excuses.values(), self.refusals]
        lines = [line for table in tables for group in table.values() for line in group]
        for line in lines:
            for name in re.findall(r"<([^>]*)>", line):
                if name not in self.words:
                    raise ValueError(f"guard.rules: the line {line!r} names <{name}>, which 'words' does not have")
            if not _LINE.fullmatch(line) or not line.strip("!~ "):
                raise ValueError(f"guard.rules: {line!r} is no line of words, '~', 'a|b', '(a b|c)' and '<name>'")
        return self


@cache
def _default_rules() -> GuardRules:
    return GuardRules.model_validate(_table("guard")["rules"])


class OutputGuard(Branch):
    """What becomes of a reply that a model wrote, on its way out."""

    mode: Literal["buffered", "audit", "off"] = "buffered"
    """`buffered`: each sentence is checked before it leaves. `audit`: LLM Mode's replies leave as they come, and what
    was found is reported; replies that leave whole are checked first all the same."""
    ending: Mapping[Language, str] = Field(default_factory=lambda: _table("guard")["ending"])
    """Ends a reply that was stopped."""
    rules: GuardRules = Field(default_factory=_default_rules)

    @model_validator(mode="after")
    def _every_language(self) -> Self:
        for language in get_args(Language):
            if language not in self.ending:
                raise ValueError(f"guard.ending has no entry for {language!r}")
        return self


class Tasks(Branch):
    """Background tasks of chat pages, such as titles: what is answered plainly instead of as a seeker's turn."""

    known: bool = True
    """Whether the templates of chat pages that the package knows are recognised."""
    templates: tuple[WrittenTemplate | TaskTemplate, ...] = ()
    """More of them: the page's text with `{{history}}` where it puts the conversation, or what `psychechat tasks
    digest` made of it."""
    model: Name | None = None
    """A model's name, such as `psychechat-tasks`: whatever asks for it is a task. None: there is no such model."""

    @cached_property
    def recognised(self) -> tuple[TaskTemplate, ...]:
        own = (t if isinstance(t, TaskTemplate) else t.digested() for t in self.templates)
        return (*own, *(known() if self.known else ()))


class Policy(Branch):
    """What may change while turns run. Swapped whole, between turns."""

    emotion_thresholds: EmotionThresholds = EmotionThresholds()
    emotion_threshold: Probability | None = Field(default=None, exclude=True)
    """Short for one threshold of all groups; what `emotion_thresholds` names goes before it. No turn reads it."""
    risk: RiskThresholds = RiskThresholds()
    review: ReviewRules = ReviewRules()
    routing: Routing = Routing()
    limits: Limits = Limits()
    admission: Admission = Admission()
    quota: Quota = Quota()
    """Of every key that has none of its own."""
    quotas: Mapping[Name, Quota] = {}
    """By the key's name."""
    crisis: Crisis = Field(default_factory=Crisis)
    guard: OutputGuard = OutputGuard()
    tasks: Tasks = Tasks()
    aliases: Mapping[Alias, Name] = {}
    """More names of our models, for clients whose model's name is fixed: `{gpt-4o: psychechat}`. They are listed beside
    the others, and an answer says the name that it was asked by."""
    strict_parameters: bool = False
    """Whether a field that nothing here reads, `tools` or one that is not known, is a 400 instead of ignored."""
    says_it_is_a_program: bool = True
    """Whether a seeker who asks if a person answers is told the truth in fixed words, whatever a model would say."""
    revision: str = ""
    """Any text. Another one is a change of the policy, upon which the files of keys are read again."""
    show_reasoning: bool = False
    """Stream LLM Mode's thinking as `reasoning_content`. It speaks about the person, so it is off."""
    show_stages: bool = False
    """Show what the stages made of a turn as `psychechat.stages`, drafts that the review refused among it: a model's
    unreviewed words, for whoever develops or inspects and never for a seeker, so it is off. Where there are API keys,
    those with `inspect` alone see it."""

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, fields: object) -> object:
        """`emotion_threshold`, said of each group. What is no probability is left to be refused as it was written."""
        if not isinstance(fields, Mapping) or fields.get("emotion_threshold") is None:
            return fields
        own = fields.get("emotion_thresholds", {})
        try:
            one = _PROBABILITY.validate_python(fields["emotion_threshold"])
        except ValidationError:
            return fields
        if not isinstance(own, Mapping):
            return fields
        return {**fields, "emotion_thresholds": {**dict.fromkeys(map(str, Group), one), **own}}

    @model_validator(mode="after")
    def _aliases_of_models(self) -> Self:
        models = self._models
        for alias, model in self.aliases.items():
            if alias in models:
                raise ValueError(f"aliases: {alias} is a model's own name: give the alias another one")
            if model not in models:
                raise ValueError(f"aliases: {alias} stands for {model}, which is none of {', '.join(models)}")
        return self

    @property
    def _models(self) -> tuple[str, ...]:
        return (*get_args(Model), *([self.tasks.model] if self.tasks.model else []))

    @property
    def names(self) -> tuple[str, ...]:
        """By which a model may be asked for."""
        return (*self._models, *self.aliases)

    def model(self, name: str) -> str:
        """The model's own name."""
        return self.aliases.get(name, name)

    @property
    def version(self) -> str:
        return short_hash(self.model_dump_json())

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(self.emotion_thresholds.by_group, self.risk.by_severity)
