"""The whole settings file. `roles` says who generates what."""

import base64
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self, get_args

import yaml
from pydantic import ConfigDict, Field, HttpUrl, PositiveFloat, PositiveInt, TypeAdapter, model_validator

from psychechat.config.auth import Auth
from psychechat.config.cors import Cors
from psychechat.config.errors import SettingsError
from psychechat.config.memory import MemorySettings
from psychechat.config.models import GeneratorSettings, ModelSettings, PlainName
from psychechat.config.replicas import Replicas
from psychechat.config.roles import Casting, Roles
from psychechat.config.shared_gpus import check_memory_is_given
from psychechat.emotion import Language
from psychechat.policy import Branch, Policy

_SHORT_FORMS = ("counselor", "seeker")
_DEPLOYMENTS = ("ingress", "classifier")
"""Beside the engines."""

_LEAST_SHARE = 2
"""Sequences of an ingress replica: one for crisis turns, one for the others."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_NONE_KNOWN: Mapping[str, int] = MappingProxyType({})


class EscalationSettings(Branch):
    """Who is told of crises: a webhook. Its secret is no setting, for settings are kept where more can read."""

    url: HttpUrl | None = None
    """Beyond this machine it must be https. Neither this nor `url_file`: nobody is told."""
    url_file: Path | None = None
    """Holds the URL. For one that is a secret by itself, as those of chat services are."""
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
    def _one_url(self) -> Self:
        if self.url and self.url_file:
            raise ValueError("escalation.url and escalation.url_file are two ways to one end: take one")
        if self.url and not _is_safe(self.url):
            raise ValueError(f"escalation.url {_NEEDS_HTTPS}")
        return self

    @property
    def is_on(self) -> bool:
        """Whether somebody is told."""
        return self.url is not None or self.url_file is not None

    def target(self) -> str:
        """The URL. Raises SettingsError, which does not quote it, if `url_file` holds none that is safe."""
        if self.url_file is None:
            return str(self.url)
        place = f"escalation.url_file: {self.url_file}"
        try:
            url = TypeAdapter(HttpUrl).validate_python(self.url_file.read_text("utf-8").strip())
        except (OSError, ValueError) as error:
            raise SettingsError(f"{place} cannot be read, or holds no URL ({type(error).__name__}).") from None
        if not _is_safe(url):
            raise SettingsError(f"{place}: the URL in it {_NEEDS_HTTPS}.")
        return str(url)

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
                f"crises are to be told of, and {place} holds no secret: 24 to 64 bytes in base64, "
                "such as `openssl rand -base64 32` prints"
            )
        return secret


_NEEDS_HTTPS = "must be https beyond this machine: an event tells of somebody in a crisis"


def _is_safe(url: HttpUrl) -> bool:
    return url.scheme == "https" or (url.host or "").strip("[]") in LOOPBACK


def _with_short_forms(schema: dict[str, Any]) -> None:
    """JSON schema of what may be written, short forms among it."""
    [engine] = schema["properties"]["engines"]["patternProperties"].values()
    schema["properties"].update({name: {"anyOf": [engine, {"type": "null"}]} for name in _SHORT_FORMS})


class Settings(Branch):
    """The whole file."""

    model_config = ConfigDict(json_schema_extra=_with_short_forms)

    host: str = "127.0.0.1"
    port: PositiveInt = 8000
    ui: bool = False
    """Whether `GET /` is the playground, a page to try the server with."""
    metrics_port: PositiveInt = 9110
    """Where `psychechat serve` has Ray give its metrics, ours among them; the next free one if this is taken."""
    packs: Mapping[Language, str] = {"en": "en", "zh": "zh"}
    """The prompt pack for each language: a built-in name or a folder."""
    reply_banks: Mapping[Language, str] = {}
    """For each language the only replies that its counselor may give, of which it chooses: a built-in name or a file. A
    language without one: the counselor writes its own."""
    default_language: Language | None = None
    """For conversations in which no message is clearly in either. Null: that of the pack which asks for them, else
    English."""
    cache: Path = Path("~/.cache/psychechat")
    """Where prepared models are kept."""
    ingress: Replicas = Replicas()
    classifier: ModelSettings = ModelSettings()
    engines: Annotated[Mapping[PlainName, GeneratorSettings], Field(min_length=1)] = {"counselor": GeneratorSettings()}
    """What generates, by the name of its deployment. `counselor` and `seeker`, where there are neither `engines` nor
    `roles`, are short for an engine of that name in the role of that name."""
    roles: Roles = Roles()
    """Which of them does what."""
    memory: MemorySettings = MemorySettings()
    auth: Auth = Auth()
    cors: Cors = Cors()
    escalation: EscalationSettings = EscalationSettings()
    policy: Policy = Field(default_factory=Policy)

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, fields: object) -> object:
        """Short forms, written out."""
        if not isinstance(fields, Mapping):
            return fields
        short = {name: fields[name] for name in _SHORT_FORMS if fields.get(name) is not None}
        rest = {name: value for name, value in fields.items() if name not in _SHORT_FORMS}
        if not short:
            return rest
        if twice := [name for name in ("engines", "roles") if rest.get(name) is not None]:
            raise ValueError(
                f"{_and(short)} at the top is short for an engine of its own, and there is {_and(twice)} too: write "
                f"{' and '.join(f'engines.{name}' for name in short)} in its place, and name each engine in roles"
            )
        engines = {"counselor": {}, **short}
        return {**rest, "engines": engines, "roles": {name: name for name in engines}}

    @model_validator(mode="after")
    def _every_engine_has_a_role(self) -> Self:
        for name in _DEPLOYMENTS:
            if name in self.engines:
                raise ValueError(f"engines.{name} has the name of another deployment: give it one of its own")
        _ = self.casting
        return self

    @model_validator(mode="after")
    def _memory_of_a_shared_gpu(self) -> Self:
        check_memory_is_given(self.engines)
        return self

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

    @property
    def deployments(self) -> Mapping[str, Replicas]:
        """How Ray runs each of them, by name."""
        engines = {name: engine.replicas for name, engine in self.engines.items()}
        return {"ingress": self.ingress, "classifier": self.classifier.replicas, **engines}

    @cached_property
    def casting(self) -> Casting:
        """Who generates what."""
        return self.roles.cast({name: engine.adapters for name, engine in self.engines.items()})

    @model_validator(mode="after")
    def _room_for_a_crisis(self) -> Self:
        for lane, engines in self.casting.lanes.items():
            if self._share(lane, {"ingress": self.ingress.most}) < _LEAST_SHARE:
                raise ValueError(
                    f"an ingress replica needs two sequences of each engine ({_and(sorted(engines))}) at least for the "
                    f"turns of {lane}, one of them for crisis turns: raise max_num_seqs or the engine's num_replicas "
                    "(min_replicas), or lower the ingress's num_replicas (max_replicas)"
                )
        return self

    @model_validator(mode="after")
    def _engines_get_full_enough_to_scale(self) -> Self:
        for name, engine in self.engines.items():
            ordinary = self.policy.admission.ordinary
            let_in = sum(ordinary(self.generations(lane)) for lane in self._lanes_of(name)) * self.ingress.least
            fullest = let_in / (engine.max_num_seqs * engine.replicas.least)
            if engine.replicas.autoscaling and fullest <= engine.replicas.autoscaling.target:
                raise ValueError(
                    f"{name}.replicas.autoscaling.target must be below {fullest:.2f}: other turns than crises fill it "
                    "no further (policy.admission.crisis_share, and the smaller of the engines that a turn runs on)"
                )
        return self

    def generations(
        self, lane: str, running: Mapping[str, int] = _NONE_KNOWN, sequences: Mapping[str, int] = _NONE_KNOWN
    ) -> int:
        """Sequences that the engines may run at once for this lane's turns in one ingress replica: what bounds a lane's
        permits. A turn runs on one engine at a time, and an engine is divided between the lanes whose turns it is for.

        `running` has the replicas of some deployments, by name; of the others there are as many as the settings ask for
        at least. Where there is none there is one again soon. `sequences` has what a replica of some engines takes, as
        it told once it had started and knew its KV memory (`GeneratorSettings.sequences`); the others take
        `max_num_seqs`. Never less than two, one of them for a crisis.
        """
        return max(self._share(lane, running, sequences), _LEAST_SHARE)

    def _share(self, lane: str, running: Mapping[str, int], sequences: Mapping[str, int] = _NONE_KNOWN) -> int:
        engines = self.casting.lanes[lane]
        most = min(self._sequences(name, running, sequences) // len(self._lanes_of(name)) for name in engines)
        return most // max(1, running.get("ingress", self.ingress.least))

    def _sequences(self, name: str, running: Mapping[str, int], sequences: Mapping[str, int]) -> int:
        engine = self.engines[name]
        return sequences.get(name, engine.max_num_seqs) * max(1, running.get(name, engine.replicas.least))

    def _lanes_of(self, engine: str) -> list[str]:
        return [lane for lane, engines in self.casting.lanes.items() if engine in engines]

    @model_validator(mode="after")
    def _keys_beyond_this_machine(self) -> Self:
        if self.host not in LOOPBACK and not self.auth.keys and self.auth.keys_file is None:
            raise ValueError(
                f"host {self.host} is reached by others, and there are no API keys: set auth.keys or auth.keys_file "
                "(`psychechat keys new NAME` makes one), or listen on 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _keys_for_everyones_pages(self) -> Self:
        if "*" in self.cors.origins and not self.auth.keys and self.auth.keys_file is None:
            raise ValueError(
                "cors.origins '*' lets every page that someone here looks at use this server, and there are no API "
                "keys: set auth.keys or auth.keys_file (`psychechat keys new NAME` makes one), or name the origins"
            )
        return self

    @classmethod
    def load(cls, path: Path) -> "Settings":
        """Read a settings file. Raises FileNotFoundError, yaml.YAMLError or pydantic.ValidationError."""
        return cls.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)
