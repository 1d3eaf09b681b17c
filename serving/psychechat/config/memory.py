"""Where turns are remembered, and what their memory is locked with."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, PositiveInt, ValidationError, model_validator

from psychechat.config.errors import SettingsError
from psychechat.policy import Branch, Name


def _key(text: object) -> bytes:
    if not isinstance(text, str) or not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("must be 64 hexadecimal digits")
    return bytes.fromhex(text)


Key256 = Annotated[bytes, BeforeValidator(_key), Field(repr=False)]


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
