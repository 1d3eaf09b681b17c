"""What may change while the ingress serves: the policy, the clients' API keys and the keys of the memory.

It is read whole and tried out before any of it is used, by the ingress and by `psychechat check` alike.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from psychechat.api.http.auth import Keyring
from psychechat.config import ApiKey, MemoryKeys, Settings, SettingsError, complaint
from psychechat.demo import thresholds
from psychechat.policy import Policy
from psychechat.safety import crisis
from psychechat.safety.output_guard import Guard
from psychechat.safety.phrases import LineError
from psychechat.telemetry import ConfigPart
from psychechat_ray.models import has_shipped_heads


class ConfigRefused(SettingsError):
    """The message has every part that is wrong, and shows no key."""

    def __init__(self, why: Mapping[ConfigPart, str]) -> None:
        super().__init__("; ".join(f"{part}: {told}" for part, told in why.items()))
        self.parts = tuple(why)


@dataclass(frozen=True, slots=True)
class LiveConfig:
    policy: Policy
    keyring: Keyring
    drills: frozenset[str]
    """Names of the API keys for practice."""
    memory_keys: MemoryKeys | None
    """None where memory is local."""


def read(policy: object, settings: Settings) -> LiveConfig:
    """The policy, as `user_config` or a settings file has it, and the keys from where the settings say. Raises
    ConfigRefused.
    """
    why: dict[ConfigPart, str] = {}
    with _collected(why, "policy"):
        checked = read_policy(policy, shipped_heads=has_shipped_heads(settings.classifier))
    with _collected(why, "keys"):
        keyring, drills = _keyring(settings.auth.read())
    with _collected(why, "memory_keys"):
        memory_keys = settings.memory.keys() if settings.memory.backend == "redis" else None
    if why:
        raise ConfigRefused(why)
    return LiveConfig(checked, keyring, drills, memory_keys)


def read_policy(policy: object, *, shipped_heads: bool) -> Policy:
    """The policy for these heads, its phrases and rules compiled, so that no turn waits for them or fails by them.

    Raises SettingsError.
    """
    try:
        checked = thresholds.for_heads(Policy.model_validate(policy), shipped=shipped_heads)
        Guard(checked.guard)
    except (ValueError, LineError) as error:
        raise SettingsError(str(error) if isinstance(error, LineError) else complaint(error)) from None
    try:
        crisis.hits("", checked.crisis.backstop)
    except ValueError as error:
        raise SettingsError(f"crisis.backstop: {complaint(error)}") from None
    return checked


@contextmanager
def _collected(why: dict[ConfigPart, str], part: ConfigPart) -> Iterator[None]:
    """Whatever goes wrong: what a running server does not understand must not end it."""
    try:
        yield
    except Exception as error:
        why[part] = complaint(error)


def _keyring(keys: Mapping[str, ApiKey]) -> tuple[Keyring, frozenset[str]]:
    """The clients' keys, and the names of those for practice."""
    return Keyring.of(keys), frozenset(name for name, key in keys.items() if key.drill)
