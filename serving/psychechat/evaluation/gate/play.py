"""Scripts played to a server: what came back for each line."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psychechat.evaluation.endpoint import TIMEOUT, Endpoint, NoAnswer, Reply
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
        return bool(self.reply.branch("risk", "conversation").get("held"))

    @property
    def is_fallback(self) -> bool:
        return bool(self.reply.branch("review").get("fallback"))

    @property
    def resources(self) -> Sequence[Mapping[str, Any]]:
        return self.reply.rows("resources")


Scene = Sequence[Played]
"""What became of a script, line by line; after an error the rest was not said."""


async def play(endpoint: Endpoint, script: Script, played: list[Played]) -> None:
    """Adds to `played` line by line."""
    said: list[tuple[Any, str]] = []
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


async def play_all(
    endpoint: Endpoint,
    scripts: Sequence[Script],
    workers: int,
    told: Callable[[Script, Scene], None],
    seconds: float | None = None,
) -> Mapping[str, Scene]:
    """By the script's id. `told` hears of each that is over; one that is not after `seconds` ends with a timeout."""
    waiting = iter(scripts)
    scenes: dict[str, list[Played]] = {script.id: [] for script in scripts}

    async def work() -> None:
        for script in waiting:
            await play(endpoint, script, scenes[script.id])
            told(script, scenes[script.id])

    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except TimeoutError:
        for script in scripts:
            scene = scenes[script.id]
            if len(scene) < len(script.say) and not (scene and scene[-1].error):
                scene.append(Played(Reply(), TIMEOUT, 0))
    return scenes
