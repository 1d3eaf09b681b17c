"""Replies for people to read and to judge: to messages of our own, some of them within a conversation."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.care import texts
from benchmarks.care.asking import Answer, Client, messages
from benchmarks.care.texts import Dialogue


def row(dialogue: Dialogue, answer: Answer) -> str:
    """One line of JSON: what was said, the reply, and how it came about."""
    own = {"mode": answer.found.get("mode"), "reason": answer.reason, "finish": answer.finish.get(0)}
    told = {"id": dialogue.name, "language": dialogue.language, "severity": dialogue.kind, "turns": dialogue.lines}
    return json.dumps({**told, "reply": answer.text, **own, "error": answer.code}, ensure_ascii=False)


def answered(file: Path) -> set[str]:
    return {json.loads(line)["id"] for line in file.read_text("utf-8").splitlines()} if file.is_file() else set()


async def run(client: Client, model: str, file: Path, languages: Sequence[str]) -> None:
    """Goes on where the file ends."""
    done = answered(file)
    for dialogue in texts.messages():
        if dialogue.language in languages and dialogue.name not in done:
            answer = await client.turn(messages(dialogue.lines), model=model)
            with file.open("a", encoding="utf-8") as out:
                out.write(row(dialogue, answer) + "\n")
