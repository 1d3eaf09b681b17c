"""API keys: who may enter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, TypeAdapter, model_validator

from psychechat.policy import Branch, Name

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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
