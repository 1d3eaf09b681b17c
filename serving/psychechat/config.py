"""The settings tree: read once, frozen, unknown keys refused. Each part of the server is handed its own branch.

A settings file holds everything. Its `policy` branch alone may change while the server runs; any other change
restarts the replicas it concerns.
"""

import base64
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from psychechat.conversation import Cause
from psychechat.emotion import Language
from psychechat.risk import Severity
from psychechat.versions import short_hash

DEMO = "demo"
"""As a model's name: the small one that comes with the package."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _key(text: object) -> bytes:
    if not isinstance(text, str) or not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("must be 64 hexadecimal digits")
    return bytes.fromhex(text)


Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key256 = Annotated[bytes, BeforeValidator(_key), Field(repr=False)]


class SettingsError(Exception):
    """The settings name something that is not there or not as it should be. The message says what to do."""


class _Branch(BaseModel):
    # What is wrong may be a secret in the wrong place, so it is named and not shown.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


# ---------------------------------------------------------------------------------------------------- policy


class RiskThresholds(_Branch):
    """A severity is reached when the probability of it or worse reaches its threshold.

    The defaults are the demo heads': `models/results/classifier.json` has what they cost. Other heads need their own.
    """

    indicator: Probability = 0.65
    ideation: Probability = 0.32
    behavior: Probability = 0.35
    attempt: Probability = 0.4

    @property
    def by_severity(self) -> Mapping[Severity, float]:
        return {
            Severity.INDICATOR: self.indicator,
            Severity.IDEATION: self.ideation,
            Severity.BEHAVIOR: self.behavior,
            Severity.ATTEMPT: self.attempt,
        }


class Routing(_Branch):
    raised_from: Literal["indicator", "ideation", "behavior", "attempt"] = "indicator"
    """From this severity on `psychechat` takes Agent Mode."""
    sharp_shift: Annotated[int, Field(le=-1)] = -3
    """A valence shift of this or less takes Agent Mode too."""

    @property
    def raised(self) -> Severity:
        return Severity[self.raised_from.upper()]


class Limits(_Branch):
    turn_seconds: PositiveFloat = 90.0
    """One deadline for the whole turn: queueing, all stages, all rounds."""
    classify_seconds: PositiveFloat = 10.0
    """After this the turn goes on with unknown risk."""
    rounds: PositiveInt = 2
    """Drafts that may be written before the safe template answers."""
    keep_alive_seconds: PositiveFloat = 5.0
    """A stream that has had nothing to say for this long sends a comment, so that nothing between closes it."""
    stage_attempts: PositiveInt = 3
    """Tries of one stage whose answer is malformed: greedy, then warmer."""
    messages: PositiveInt = 512
    message_characters: PositiveInt = 32_000
    operator_characters: PositiveInt = 4_000
    texts: PositiveInt = 4_096
    """In one request to classify or to moderate. Each may have `message_characters`."""
    body_bytes: PositiveInt = 1_000_000
    body_seconds: PositiveFloat = 20.0
    """A body that takes longer to arrive is a 408."""


class Admission(_Branch):
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
    """How long a crisis turn waits, ahead of all others, before it is answered with the safe template."""
    crisis_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Of the sequences that the engines take: kept for crisis turns, at least one."""

    def ordinary(self, generations: int) -> int:
        """What other turns may hold of so many sequences."""
        return generations - max(1, round(generations * self.crisis_share))


class Quota(_Branch):
    """What one key may ask for, at each ingress replica. A crisis is answered beyond it."""

    turns_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    """Prompt and completion of all stages. A turn under way is never cut; the next one waits."""
    turns_at_once: PositiveInt | None = None


class Resource(_Branch):
    """Someone to turn to: a name, and how to reach them."""

    name: str
    contact: str


class Crisis(_Branch):
    """Fixed words for a crisis. None of them ever comes from a model."""

    backstop: Mapping[Language, tuple[Annotated[str, Field(min_length=2)], ...]]
    """Phrases that make a turn a crisis whatever the classifier says, or while it is down."""
    template: Mapping[Language, str]
    """The safe template: the reply when no model's reply may leave."""
    introduction: Mapping[Language, str]
    """The line before the resources."""
    resources: Mapping[str, tuple[Resource, ...]]
    """By locale: `en-US`, then `en`."""

    @model_validator(mode="after")
    def _every_language(self) -> Self:
        for language in ("en", "zh"):
            for name, table in (("template", self.template), ("introduction", self.introduction)):
                if language not in table:
                    raise ValueError(f"crisis.{name} has no entry for {language!r}")
            if language not in self.resources:
                raise ValueError(f"crisis.resources has no generic entry {language!r}")
        return self


def _default_crisis() -> Crisis:
    return Crisis.model_validate(yaml.safe_load(files("psychechat").joinpath("crisis.yaml").read_text("utf-8")))


_WORD = r"(?:~|[^\s()|~!]+(?:\|[^\s()|~!]+)*|\([^()|~!]+(?:\|[^()|~!]+)*\))"
_LINE = re.compile(rf"(?:!\s*)?{_WORD}(?:\s+{_WORD})*")


class GuardRules(_Branch):
    """What the output guard looks for. `guard.yaml` says how its lines are read."""

    words: Mapping[str, tuple[str, ...]] = {}
    """Lists of words that a line names as `<name>`."""
    phrases: Mapping[Cause, Mapping[Language, tuple[str, ...]]]
    excuses: Mapping[Cause | Literal["any"], Mapping[Language, tuple[str, ...]]] = {}
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
def _guard_table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(files("psychechat").joinpath("guard.yaml").read_text("utf-8"))
    return table


class OutputGuard(_Branch):
    """What becomes of a reply that a model wrote, on its way out."""

    mode: Literal["buffered", "audit", "off"] = "buffered"
    """`buffered`: each sentence is checked before it leaves. `audit`: LLM Mode's replies leave as they come, and what
    was found is reported; replies that leave whole are checked first all the same."""
    ending: Mapping[Language, str] = Field(default_factory=lambda: _guard_table()["ending"])
    """Ends a reply that was stopped."""
    rules: GuardRules = Field(default_factory=lambda: GuardRules.model_validate(_guard_table()["rules"]))

    @model_validator(mode="after")
    def _every_language(self) -> Self:
        for language in get_args(Language):
            if language not in self.ending:
                raise ValueError(f"guard.ending has no entry for {language!r}")
        return self


class Policy(_Branch):
    """What may change while turns run. Swapped whole, between turns."""

    emotion_threshold: Probability = 0.28
    """An emotion group is present from this probability on. The default is the demo heads', as above."""
    risk: RiskThresholds = RiskThresholds()
    routing: Routing = Routing()
    limits: Limits = Limits()
    admission: Admission = Admission()
    quota: Quota = Quota()
    """Of every key that has none of its own."""
    quotas: Mapping[Name, Quota] = {}
    """By the key's name."""
    crisis: Crisis = Field(default_factory=_default_crisis)
    guard: OutputGuard = OutputGuard()
    show_reasoning: bool = False
    """Stream LLM Mode's thinking as `reasoning_content`. It speaks about the person, so it is off."""

    @property
    def version(self) -> str:
        return short_hash(self.model_dump_json())


# --------------------------------------------------------------------------------------------------- engines


class Replicas(_Branch):
    """How Ray runs a deployment."""

    num_replicas: PositiveInt = 1
    num_cpus: NonNegativeFloat = 1.0
    num_gpus: NonNegativeFloat = 0.0
    env: Mapping[str, str] = {}
    """Environment of the replica's processes, e.g. `VLLM_CPU_OMP_THREADS_BIND`."""


class ModelSettings(_Branch):
    engine: Literal["vllm", "scripted"] = "vllm"
    model: str = DEMO
    """`demo`, a folder, or a name on the Hugging Face hub."""
    revision: str | None = None
    engine_args: Mapping[str, Any] = {}
    """Passed on to vLLM's `AsyncEngineArgs`."""
    replicas: Replicas = Replicas()


class GeneratorSettings(ModelSettings):
    max_num_seqs: PositiveInt = 64
    """Sequences that an engine works on at once. Admission counts with it, so it is not among `engine_args`."""

    @model_validator(mode="after")
    def _one_max_num_seqs(self) -> Self:
        if "max_num_seqs" in self.engine_args:
            raise ValueError("max_num_seqs stands beside engine_args, not in it")
        return self


class MemoryKeys(_Branch):
    """What memory in Redis is locked with. `psychechat keys memory` writes such a file. Each key is 32 bytes in hex."""

    index: Key256
    """Hashes what values are found under. With another one, all that is remembered is lost."""
    encrypt_with: Name
    """Which of `keys` seals new values."""
    keys: Annotated[Mapping[Name, Key256], Field(repr=False)]
    """All that may have sealed a value that is still kept."""

    @model_validator(mode="after")
    def _can_encrypt(self) -> Self:
        if self.encrypt_with not in self.keys:
            raise ValueError("encrypt_with names none of keys")
        return self


class MemorySettings(_Branch):
    backend: Literal["local", "redis"] = "local"
    """`local` is in the ingress's process, so it is for one replica. With `redis` all replicas share it."""
    ttl_seconds: PositiveInt = 86_400
    """How long a turn is remembered."""
    capacity: PositiveInt = 100_000
    """Turns remembered locally; the least recently used is forgotten first."""
    url_file: Path | None = None
    """Holds Redis's URL, `rediss://USER:PASSWORD@HOST:PORT/DB`. None: the variable PSYCHECHAT_REDIS_URL does."""
    keys_file: Path | None = None
    """Holds `MemoryKeys`. None: the variable PSYCHECHAT_MEMORY_KEYS does."""

    @model_validator(mode="after")
    def _files_are_for_redis(self) -> Self:
        if self.backend == "local" and (self.url_file or self.keys_file):
            raise ValueError("url_file and keys_file are for memory.backend 'redis': set it, or leave them out")
        return self

    def url(self) -> str:
        """Raises SettingsError if nothing holds it."""
        return _secret("memory.url_file", self.url_file, "PSYCHECHAT_REDIS_URL").strip()

    def keys(self) -> MemoryKeys:
        """Raises SettingsError if nothing holds them or they are malformed."""
        text = _secret("memory.keys_file", self.keys_file, "PSYCHECHAT_MEMORY_KEYS")
        wrong = "The keys of the memory (memory.keys_file or PSYCHECHAT_MEMORY_KEYS) are wrong"
        mend = "`psychechat keys memory` writes a file as it should be."
        try:
            return MemoryKeys.model_validate(yaml.safe_load(text))
        except yaml.YAMLError:  # its message would quote the file
            raise SettingsError(f"{wrong}: not YAML. {mend}") from None
        except ValidationError as error:
            field = next(iter(error.errors()[0]["loc"]), "")
            # A name that we do not know may be a key in the wrong place.
            where = field if field in MemoryKeys.model_fields else "the whole"
            raise SettingsError(f"{wrong}: {where}: {error.errors()[0]['msg']}. {mend}") from None


def _secret(setting: str, file: Path | None, variable: str) -> str:
    if file is None:
        if not os.environ.get(variable, "").strip():
            raise SettingsError(f"memory.backend is 'redis': set {setting}, or the environment's {variable}.")
        return os.environ[variable]
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{setting}: {file} cannot be read ({type(error).__name__}).") from None
    if not text.strip():
        raise SettingsError(f"{setting}: {file} is empty.")
    return text


class Auth(_Branch):
    """Who may enter. `psychechat keys new NAME` makes a key and its line here."""

    keys: Mapping[Name, Sha256] = {}
    """The SHA-256 of each key, in hexadecimal, by a name. Conversations and caches of two names never meet."""
    keys_file: Path | None = None
    """More of them: the same mapping as a YAML file, e.g. a mounted secret."""
    metrics: bool = False
    """Whether `/metrics` needs a key too."""

    def all_keys(self) -> Mapping[str, str]:
        """Raises OSError, yaml.YAMLError or pydantic.ValidationError if the file cannot be read or holds no keys."""
        if self.keys_file is None:
            return self.keys
        more = yaml.safe_load(self.keys_file.read_text("utf-8"))
        # A file without keys must not open the door to everyone.
        kind = TypeAdapter(Annotated[dict[Name, Sha256], Field(min_length=1)], config=_Branch.model_config)
        kept = kind.validate_python(more)
        return {**self.keys, **kept}


class EscalationSettings(_Branch):
    """Who is told of crisis turns: a webhook. Its secret is no setting, for settings are kept where more can read."""

    url: HttpUrl | None = None
    """None: nobody is told."""
    secret_file: Path | None = None
    """Holds the secret as Standard Webhooks write it: base64 of 24 to 64 bytes, with or without `whsec_`."""
    secret_env: str = "PSYCHECHAT_ESCALATION_SECRET"  # noqa: S105  its name
    """Without a file: the environment variable of the ingress that holds it."""
    timeout_seconds: PositiveFloat = 5.0
    """For one try."""
    attempts: PositiveInt = 10
    """They take some four minutes in all, unless the receiver asks for longer pauses."""
    capacity: PositiveInt = 1_000
    """Events waiting for delivery. A newer one takes the oldest's place."""
    include_utterance: bool = False
    """Whether an event quotes the seeker's newest message."""

    @model_validator(mode="after")
    def _words_travel_encrypted(self) -> Self:
        if self.include_utterance and self.url and self.url.scheme != "https" and self.url.host not in LOOPBACK:
            raise ValueError("escalation.include_utterance needs an https URL: what a seeker wrote would be readable")
        return self

    def secret(self) -> bytes:
        """Raises OSError if the file cannot be read and ValueError if there is no secret or it is none."""
        place = str(self.secret_file or f"the environment variable {self.secret_env}")
        text = self.secret_file.read_text("utf-8") if self.secret_file else os.environ.get(self.secret_env, "")
        try:
            secret = base64.b64decode(text.strip().removeprefix("whsec_"), validate=True)
        except ValueError:
            secret = b""
        if not 24 <= len(secret) <= 64:
            raise ValueError(
                f"escalation.url is set, and {place} holds no secret: 24 to 64 bytes in base64, "
                "such as `openssl rand -base64 32` prints"
            )
        return secret


class Settings(_Branch):
    """The whole file."""

    host: str = "127.0.0.1"
    port: PositiveInt = 8000
    packs: Mapping[Language, str] = {"en": "en", "zh": "zh"}
    """The prompt pack for each language: a built-in name or a folder."""
    default_language: Language = "en"
    """For conversations in which no message is clearly in either."""
    cache: Path = Path("~/.cache/psychechat")
    """Where prepared models are kept."""
    ingress: Replicas = Replicas()
    classifier: ModelSettings = ModelSettings()
    counselor: GeneratorSettings = GeneratorSettings()
    seeker: GeneratorSettings | None = None
    """Runs the simulation. None: the counselor's engine does."""
    memory: MemorySettings = MemorySettings()
    auth: Auth = Auth()
    escalation: EscalationSettings = EscalationSettings()
    policy: Policy = Field(default_factory=Policy)

    @model_validator(mode="after")
    def _a_pack_a_language(self) -> Self:
        if set(self.packs) != set(get_args(Language)):
            raise ValueError(f"packs needs exactly one entry for each of {', '.join(get_args(Language))}")
        return self

    @model_validator(mode="after")
    def _one_memory(self) -> Self:
        if self.memory.backend == "local" and self.ingress.num_replicas > 1:
            raise ValueError(
                "memory.backend 'local' is seen by one replica only: set ingress.num_replicas to 1, or memory.backend "
                "to 'redis'"
            )
        return self

    @model_validator(mode="after")
    def _room_for_a_crisis(self) -> Self:
        if self.generations < 2:
            raise ValueError(
                "an ingress replica needs two sequences of the counselor (and of the seeker) at least, one of them for "
                "crisis turns: raise max_num_seqs or the engine's num_replicas, or lower ingress.num_replicas"
            )
        return self

    @property
    def generations(self) -> int:
        """Sequences that the engines may run at once for one ingress replica. A turn runs on one engine at a time."""
        engines = [self.counselor, *([self.seeker] if self.seeker else [])]
        return min(e.max_num_seqs * e.replicas.num_replicas for e in engines) // self.ingress.num_replicas

    @model_validator(mode="after")
    def _keys_beyond_this_machine(self) -> Self:
        if self.host not in LOOPBACK and not self.auth.keys and self.auth.keys_file is None:
            raise ValueError(
                f"host {self.host} is reached by others, and there are no API keys: set auth.keys or auth.keys_file "
                "(`psychechat keys new NAME` makes one), or listen on 127.0.0.1"
            )
        return self

    @classmethod
    def load(cls, path: Path) -> "Settings":
        """Read a settings file. Raises FileNotFoundError, yaml.YAMLError or pydantic.ValidationError."""
        return cls.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})
