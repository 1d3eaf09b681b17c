"""API keys: who may enter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from psychechat.config.errors import SettingsError, complaint
from psychechat.policy import Branch, Name

_NAME: TypeAdapter[str] = TypeAdapter(Name)

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

    metrics: bool = False
    """Whether it is for `/metrics` only, which then no other key opens."""
    fields: Literal["all", "minimal"] = "all"
    """`minimal`: the `psychechat` part of answers holds nothing that was found out about the seeker. For whoever hands
    them on to browsers as they are."""
    inspect: bool = False
    """Whether its answers show what the stages made of a turn, refused drafts among it, where `policy.show_stages` is
    true. For whoever develops or inspects, never for an app that seekers write in."""

    @model_validator(mode="after")
    def _of_is_for_tasks(self) -> Self:
        if self.metrics and (self.tasks or self.drill):
            raise ValueError("metrics is for a key that asks for nothing else: leave out tasks and drill")
        if self.inspect and (self.tasks or self.metrics or self.fields == "minimal"):
            raise ValueError("inspect is for a key that sees all of a turn: leave out tasks, metrics, fields: minimal")
        if self.of is not None and not self.tasks:
            raise ValueError("of is for a key with tasks: true")
        if self.of is not None and self.drill:
            raise ValueError("drill is for the key that of names: what its tasks tell of is practice where that key is")
        return self


class Auth(Branch):
    """Who may enter. `psychechat keys new NAME` makes a key and its line here."""

    keys: Mapping[Name, Sha256 | ApiKey] = {}
    """The SHA-256 of each key, in hexadecimal, by a name. Conversations and caches of two names never meet.
    `{sha256: ..., drill: true}` is a key for practice, `{sha256: ..., tasks: true, of: NAME}` for background tasks,
    `{sha256: ..., metrics: true}` for `/metrics`, `{sha256: ..., fields: minimal}` for answers that browsers see,
    `{sha256: ..., inspect: true}` for whoever looks into the stages."""
    keys_file: Path | None = None
    """More of them: the same mapping as a YAML file, e.g. a mounted secret."""
    metrics: bool = False
    """Whether `/metrics` needs a key too. It does in any case where there is a key for it."""

    @model_validator(mode="after")
    def _of_is_known(self) -> Self:
        if self.keys_file is None:  # else it may name a key of the file, which `read` looks at
            _with_pages(_in_full(self.keys))
        return self

    def all_keys(self) -> Mapping[str, str]:
        """The keys' SHA-256 by name. Raises as `read`."""
        return {name: key.sha256 for name, key in self.read().items()}

    def read(self) -> Mapping[str, ApiKey]:
        """Raises SettingsError, whose message shows nothing of the file, if that cannot be read or holds no keys, or if
        a key for tasks is of no key of a page.
        """
        kept = {} if self.keys_file is None else _kept(self.keys_file)
        try:
            return _with_pages({**_in_full(self.keys), **kept})
        except ValueError as error:
            raise SettingsError(f"auth: {error}") from None


def _in_full(keys: Mapping[str, Sha256 | ApiKey]) -> dict[str, ApiKey]:
    return {name: ApiKey(sha256=key) if isinstance(key, str) else key for name, key in keys.items()}


def _with_pages(keys: Mapping[str, ApiKey]) -> Mapping[str, ApiKey]:
    """The keys, of which each for tasks is of one for conversations. Raises ValueError."""
    for name, key in keys.items():
        if key.of is not None and (key.of not in keys or keys[key.of].tasks or keys[key.of].metrics):
            raise ValueError(
                f"the API key {name} is for the background tasks of another, and there is no such key"
                + (", but one for tasks or metrics" if key.of in keys else "")
                + ": let 'of' name the key that the page's conversations come with, or leave it out"
            )
    return keys


def _kept(file: Path) -> dict[str, ApiKey]:
    """The keys of a file. Raises SettingsError."""
    try:
        entries = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"auth.keys_file: {file}: {complaint(error)}") from None
    if not isinstance(entries, Mapping) or not entries:
        # A file without keys must not open the door to everyone.
        raise SettingsError(
            f"auth.keys_file: {file} holds no keys: a line each, as `psychechat keys new NAME` prints it"
        )
    kept: dict[str, ApiKey] = {}
    for number, (name, value) in enumerate(entries.items(), start=1):
        try:
            kept[_NAME.validate_python(name)] = ApiKey.model_validate(
                {"sha256": value} if isinstance(value, str) else value
            )
        except ValidationError as error:
            raise SettingsError(f"auth.keys_file: {file}, entry {number}: {_why(error)}") from None
    return kept


def _why(error: ValidationError) -> str:
    """What is wrong with an entry. Neither its name nor what it holds: either may be a key in the wrong place."""
    first = error.errors(include_input=False, include_url=False)[0]
    if error.title == ApiKey.__name__:
        if first["type"] == "extra_forbidden":
            return f"there is a field beside {', '.join(ApiKey.model_fields)}"
        if first["type"] != "value_error" and first["loc"] in ((), ("sha256",)):
            return "no SHA-256 of a key: 64 digits of 0 to 9 and a to f, as `psychechat keys new NAME` prints"
        return f"{'.'.join(map(str, first['loc']))} {first['msg'].removeprefix('Value error, ')}".strip()
    return "its name is not 1 to 64 letters, digits, dots, dashes or underscores"
