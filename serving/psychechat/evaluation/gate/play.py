"""Scripts played to a server: what came back for each line."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psychechat.evaluation.endpoint import Endpoint, NoAnswer, Reply
from psychechat.evaluation.gate.scripts import Script


@dataclass(frozen=True, slots=True)
class Played:
    """One line and its answer. `error`: what came in the place of a reply; `status` 0: no HTTP answer."""

    reply: Reply
    error: str | None = None
    status: int = 200

    @property
    def tells(self) -> bool:
        """Whether the server says what it found."""
        return "risk" in self.reply.found

    @property
    def reason(self) -> str:
        return str(self.reply.found.get("reason") or "")

    @property
    def is_crisis(self) -> bool:
        return self.reason == "crisis"

    @property
    def is_held(self) -> bool:
        """Whether the conversation is, and the turn was answered so. A pinned mode tells no reason of its own."""
        if self.reason not in ("crisis", "held", "pinned", "unknown_risk"):
            return False
        risk: Mapping[str, Any] = self.reply.found.get("risk") or {}
        return bool((risk.get("conversation") or {}).get("held"))

    @property
    def is_fallback(self) -> bool:
        return bool((self.reply.found.get("review") or {}).get("fallback"))

    @property
    def resources(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.reply.found.get("resources") or ()
        return found


Scene = Sequence[Played]
"""What became of a script, line by line; after an error the rest was not said."""


async def play(endpoint: Endpoint, script: Script) -> Scene:
    said: list[tuple[Any, str]] = []
    played: list[Played] = []
    session = f"gate-{secrets.token_hex(8)}"
    for line in script.say:
        if line.next_day:
            said, session = said[-2:], f"gate-{secrets.token_hex(8)}"
        said.append(("user", line.text))
        try:
            reply = await endpoint.reply(said, session=session, locale=script.locale)
        except NoAnswer as error:
            played.append(Played(Reply(), error.kind, error.status))
            break
        played.append(Played(reply))
        said.append(("assistant", reply.text))
    return played


async def play_all(
    endpoint: Endpoint, scripts: Sequence[Script], workers: int, told: Callable[[Script, Scene], None]
) -> dict[str, Scene]:
    """By the script's id. `told` hears of each that is over."""
    waiting, found = iter(scripts), {}

    async def work() -> None:
        for script in waiting:
            found[script.id] = await play(endpoint, script)
            told(script, found[script.id])

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return {script.id: found[script.id] for script in scripts}
