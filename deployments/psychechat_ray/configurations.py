"""Settings files by name, and what is wrong with a file before a server is given it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError

from psychechat import prompts, reply_bank
from psychechat.config import Auth, MemorySettings, Settings, SettingsError, complaint
from psychechat.help.resources import Table
from psychechat.memory.backends import open_memory
from psychechat_ray import live_config
from psychechat_ray.models import check_adapters, check_places, check_shared_gpus

FOLDER = Path(__file__).with_name("configs")

Kind = Literal["settings", "keys", "memory-keys", "resources"]
"""What a file may be: settings, an `auth.keys_file`, a `memory.keys_file`, a table for `policy.crisis.resources`."""


def load(config: str) -> Settings:
    """The settings in the file at this path, or in the one of this name that comes with the package.

    Raises FileNotFoundError if there is neither, and what `Settings.load` raises.
    """
    path = Path(config)
    if path.is_file():
        return Settings.load(path)
    if not (FOLDER / f"{config}.yaml").is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise FileNotFoundError(f"no configuration {config!r}: neither a file nor one of {known}")
    return Settings.load(FOLDER / f"{config}.yaml")


def check(settings: Settings) -> None:
    """Raises SettingsError for what would end the start of a server with them, as far as it shows without engines."""
    live_config.read(settings.policy, settings)
    open_memory(settings.memory)
    try:
        if settings.escalation.is_on:
            settings.escalation.target()
            settings.escalation.secret()
        prompts.load_all(settings.packs)
    except (OSError, ValueError) as error:
        raise SettingsError(str(error)) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"packs: {complaint(error)}") from None
    _check_reply_banks(settings)
    check_adapters(settings)
    check_places(settings)
    check_shared_gpus(settings)


def _check_reply_banks(settings: Settings) -> None:
    for language, bank in settings.reply_banks.items():
        try:
            reply_bank.load_all({language: bank})
        except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise SettingsError(f"reply_banks.{language}: {bank}: {complaint(error)}") from None
        except (OSError, ValueError) as error:
            raise SettingsError(f"reply_banks.{language}: {error}") from None


def check_keys(file: Path) -> int:
    """How many API keys the file holds. Raises SettingsError."""
    return len(Auth(keys_file=file).read())


def check_memory_keys(file: Path) -> int:
    """How many keys of the memory the file holds. Raises SettingsError."""
    return len(MemorySettings(backend="redis", keys_file=file).keys().keys)


def check_resources(file: Path) -> Table:
    """The file's table. Raises SettingsError."""
    policy = live_config.read_policy({"crisis": {"resources": _content(file)}}, shipped_heads=False)
    return policy.crisis.resources


def kind_of(file: Path) -> Kind | None:
    """What the file looks like. None: like nothing that we know, or it is empty. Raises SettingsError."""
    content = _content(file)
    if not isinstance(content, Mapping) or not content:
        return None
    if content.keys() & Settings.model_json_schema()["properties"].keys():
        return "settings"
    if content.keys() & {"index", "encrypt_with"}:
        return "memory-keys"
    if any(isinstance(value, list) for value in content.values()):
        return "resources"
    holds_keys = any(isinstance(key, str) or (isinstance(key, Mapping) and "sha256" in key) for key in content.values())
    return "keys" if holds_keys else None


def _content(file: Path) -> object:
    try:
        return yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(complaint(error)) from None
