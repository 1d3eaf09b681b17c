"""The settings tree: read once, frozen, unknown keys refused. Each part of the server is handed its own branch.

A settings file holds everything. Its `policy` branch alone may change while the server runs; any other change
replaces every replica.
"""

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    HttpUrl,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from psychechat.emotion import Language
from psychechat.policy import Branch, Name, Policy

DEMO = "demo"
"""As a model's name: the small one that comes with the package."""

_LEAST_SHARE = 2
"""Sequences of an ingress replica: one for crisis turns, one for the others."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _key(text: object) -> bytes:
    if not isinstance(text, str) or not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("must be 64 hexadecimal digits")
    return bytes.fromhex(text)


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key256 = Annotated[bytes, BeforeValidator(_key), Field(repr=False)]


class SettingsError(Exception):
    """The settings name something that is not there or not as it should be. The message says what to do."""


class Autoscaling(Branch):
    """Between which bounds Ray chooses the number of a deployment's replicas, by what, and how soon."""

    min_replicas: PositiveInt = 1
    max_replicas: PositiveInt
    target: PositiveFloat = 40.0
    """Requests that a replica should have open at once: turns of an ingress, classifications of a classifier."""
    window_seconds: PositiveFloat = 30.0
    """What is compared with the target is the mean of so long."""
    upscale_seconds: NonNegativeFloat = 10.0
    """For so long it must have been too much until replicas are added."""
    downscale_seconds: NonNegativeFloat = 600.0
    """For so long it must have been too little until replicas go: an engine takes minutes to come back."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("autoscaling.min_replicas is more than max_replicas")
        return self


class EngineAutoscaling(Autoscaling):
    target: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """How full an engine should be: of sequences (what it runs and what waits in it, of `max_num_seqs`) or in its KV
    cache, whichever is fuller."""


class Replicas(Branch):
    """How Ray runs a deployment."""

    num_replicas: PositiveInt = 1
    autoscaling: Autoscaling | None = None
    """In the place of `num_replicas`."""
    num_cpus: NonNegativeFloat = 1.0
    num_gpus: NonNegativeFloat = 0.0
    resources: Mapping[str, PositiveFloat] = {}
    """Ray's custom resources: only nodes that have them run the replica, e.g. `{"accelerator_type:A100": 0.001}`."""
    env: Mapping[str, str] = {}
    """Environment of the replica's processes, e.g. `VLLM_CPU_OMP_THREADS_BIND`."""
    health_check_seconds: PositiveFloat = 5.0
    """Between two of Serve's health checks. A replica that died is replaced after the next one, one whose engine died
    after the third."""

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if self.autoscaling is not None and self.num_replicas != 1:
            raise ValueError("num_replicas is for replicas that do not scale: leave it out, or leave out autoscaling")
        return self

    @property
    def least(self) -> int:
        return self.autoscaling.min_replicas if self.autoscaling else self.num_replicas

    @property
    def most(self) -> int:
        return self.autoscaling.max_replicas if self.autoscaling else self.num_replicas


class EngineReplicas(Replicas):
    autoscaling: EngineAutoscaling | None = None
    """In the place of `num_replicas`."""


class ModelSettings(Branch):
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
    gather_seconds: NonNegativeFloat = 0.05
    """The longest that words wait for others to leave with them, once a stream's first ones have left."""
    replicas: EngineReplicas = EngineReplicas()

    @model_validator(mode="after")
    def _one_max_num_seqs(self) -> Self:
        if "max_num_seqs" in self.engine_args:
            raise ValueError("max_num_seqs stands beside engine_args, not in it")
        return self


class MemoryKeys(Branch):
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


class MemorySettings(Branch):
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


class ApiKey(Branch):
    """A key that is more than a name."""

    sha256: Sha256
    drill: bool = False
    """Whether its crises are practice: their events are typed `drill`."""
    tasks: bool = False
    """Whether it is for background tasks of chat pages only: none of its requests is a seeker's turn."""
    of: Name | None = None
    """With `tasks`: the name of the key that the page's conversations come with. A crisis that it has had a turn for
    raises no second event when a task quotes it."""

    @model_validator(mode="after")
    def _of_is_for_tasks(self) -> Self:
        if self.of is not None and not self.tasks:
            raise ValueError("of is for a key with tasks: true")
        if self.of is not None and self.drill:
            raise ValueError("drill is for the key that of names: what its tasks tell of is practice where that key is")
        return self


class Auth(Branch):
    """Who may enter. `psychechat keys new NAME` makes a key and its line here."""

    keys: Mapping[Name, Sha256 | ApiKey] = {}
    """The SHA-256 of each key, in hexadecimal, by a name. Conversations and caches of two names never meet.
    `{sha256: ..., drill: true}` is a key for practice, `{sha256: ..., tasks: true, of: NAME}` for background tasks."""
    keys_file: Path | None = None
    """More of them: the same mapping as a YAML file, e.g. a mounted secret."""
    metrics: bool = False
    """Whether `/metrics` needs a key too."""

    @model_validator(mode="after")
    def _of_is_known(self) -> Self:
        if self.keys_file is None:  # else it may name a key of the file, which `read` looks at
            self.read()
        return self

    def all_keys(self) -> Mapping[str, str]:
        """The keys' SHA-256 by name. Raises as `read`."""
        return {name: key.sha256 for name, key in self.read().items()}

    def read(self) -> Mapping[str, ApiKey]:
        """Raises OSError, yaml.YAMLError or pydantic.ValidationError if the file cannot be read or holds no keys, and
        ValueError if a key for tasks is of no key of a page.
        """
        keys = {name: ApiKey(sha256=k) if isinstance(k, str) else k for name, k in self._keys().items()}
        for name, key in keys.items():
            if key.of is not None and (key.of not in keys or keys[key.of].tasks):
                raise ValueError(
                    f"the API key {name} is for the background tasks of {key.of}, and there is no such key"
                    + (", but one for tasks" if key.of in keys else "")
                    + ": let 'of' name the key that the page's conversations come with, or leave it out"
                )
        return keys

    def _keys(self) -> Mapping[str, Sha256 | ApiKey]:
        if self.keys_file is None:
            return self.keys
        more = yaml.safe_load(self.keys_file.read_text("utf-8"))
        # A file without keys must not open the door to everyone.
        kind = TypeAdapter(Annotated[dict[Name, Sha256 | ApiKey], Field(min_length=1)], config=Branch.model_config)
        kept = kind.validate_python(more)
        return {**self.keys, **kept}


class EscalationSettings(Branch):
    """Who is told of crises: a webhook. Its secret is no setting, for settings are kept where more can read."""

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
    rising: bool = False
    """Whether a conversation whose lines add up to more risk than any one of them is told too."""

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


class Settings(Branch):
    """The whole file."""

    host: str = "127.0.0.1"
    port: PositiveInt = 8000
    metrics_port: PositiveInt = 9110
    """Where `psychechat serve` has Ray give its metrics, ours among them; the next free one if this is taken."""
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
        if self.memory.backend == "local" and self.ingress.most > 1:
            raise ValueError(
                "memory.backend 'local' is seen by one replica only: leave out ingress.num_replicas and "
                "ingress.autoscaling, or set memory.backend to 'redis'"
            )
        return self

    @model_validator(mode="after")
    def _room_for_a_crisis(self) -> Self:
        if self._share({"ingress": self.ingress.most}) < _LEAST_SHARE:
            raise ValueError(
                "an ingress replica needs two sequences of the counselor (and of the seeker) at least, one of them for "
                "crisis turns: raise max_num_seqs or the engine's num_replicas (min_replicas), or lower the ingress's "
                "num_replicas (max_replicas)"
            )
        return self

    @model_validator(mode="after")
    def _engines_get_full_enough_to_scale(self) -> Self:
        let_in = self.policy.admission.ordinary(self.generations()) * self.ingress.least
        for name, engine in self._generators.items():
            fullest = let_in / (engine.max_num_seqs * engine.replicas.least)
            if engine.replicas.autoscaling and fullest <= engine.replicas.autoscaling.target:
                raise ValueError(
                    f"{name}.replicas.autoscaling.target must be below {fullest:.2f}: other turns than crises fill it "
                    "no further (policy.admission.crisis_share, and the smaller of counselor and seeker)"
                )
        return self

    def generations(self, running: Mapping[str, int] = MappingProxyType({})) -> int:
        """Sequences that the engines may run at once for one ingress replica. A turn runs on one engine at a time.

        `running` has the replicas of some deployments, by name; of the others there are as many as the settings ask for
        at least. Where there is none there is one again soon.
        """
        return max(self._share(running), _LEAST_SHARE)

    def _share(self, running: Mapping[str, int]) -> int:
        sequences = min(
            engine.max_num_seqs * max(1, running.get(name, engine.replicas.least))
            for name, engine in self._generators.items()
        )
        return sequences // max(1, running.get("ingress", self.ingress.least))

    @property
    def _generators(self) -> Mapping[str, GeneratorSettings]:
        return {"counselor": self.counselor} | ({"seeker": self.seeker} if self.seeker else {})

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
