"""The file of a saved conversation: one JSON object, which `psychechat report` and the playground's replay read."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from psychechat.commands.chat.talk import Turn
from psychechat.commands.files import replacing


def file_name() -> str:
    return f"psychechat-{datetime.now():%Y%m%d-%H%M%S}.json"


def save(file: Path, model: str, turns: Sequence[Turn]) -> None:
    """Written whole or not at all, readable by its owner only. Raises OSError."""
    saved = {
        "psychechat_conversation": 1,
        "model": model,
        "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "turns": [asdict(turn) for turn in turns],
    }
    with replacing(file) as target:
        target.write(f"{json.dumps(saved, indent=1)}\n".encode())
