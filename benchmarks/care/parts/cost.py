"""CPU seconds of reading the load test's conversations: bare classification, and whole turns with memory and without.

Whole turns have a counselor who says what the data say, so what they cost beyond a bare reading is the server's own
work: the phrases, the state of the conversation, the API. Read it as a ratio to the bare reading of the same run, or
beside the same run of another commit.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.care.parts.base import Found, Run, complaints, walk
from benchmarks.care.reading import NoMemory, in_process
from benchmarks.care.texts import Dialogue
from benchmarks.speed import conversations
from psychechat.engines.base import Call, Classifier


@dataclass(frozen=True, slots=True)
class Spent:
    """Of CPU seconds; `engine` is what the processes of the engine took, where it has any."""

    seconds: float
    engine: float

    def __sub__(self, earlier: "Spent") -> "Spent":
        return Spent(self.seconds - earlier.seconds, self.engine - earlier.engine)


def spent() -> Spent:
    """Of this process and those that it started, so far."""
    own = psutil.Process()
    engine = [child.cpu_times() for child in own.children(recursive=True)]
    others = sum(times.user + times.system for times in engine)
    mine = own.cpu_times()
    return Spent(mine.user + mine.system + others, others)


def chosen(data: Path, turns: int, seed: int) -> list[Dialogue]:
    """Whole conversations until they have so many turns."""
    sessions = conversations.load(data / "loadtest_mix" / "conversations.jsonl.gz")
    random.Random(seed).shuffle(sessions)
    picked: list[Dialogue] = []
    for session in sessions:
        if sum(len(row.turns) for row in picked) >= turns:
            break
        lines = tuple(utterance.text for utterance in session.turns[-1].conversation.utterances)
        picked.append(Dialogue(session.name, session.turns[0].language, "loadtest", lines))
    return picked


async def run(run: Run, classifier: Classifier, turns: int) -> Found:
    dialogues = chosen(run.data, turns, run.seed)
    newest = [row.lines[end - 1] for row in dialogues for end in row.turns]
    call = Call("cost", "cost")
    await classifier.classify(newest[:16], call)  # the first texts pay for what is loaded late
    taken: dict[str, Spent] = {}
    failed = 0
    begun = spent()
    for text in newest:
        await classifier.classify([text], call)
    taken["bare"] = spent() - begun
    run.console.log(f"bare readings: {taken['bare'].seconds:.1f} CPU seconds")
    for way, memory in (("with_memory", None), ("without_memory", NoMemory())):
        async with in_process(classifier, memory) as client:
            await walk(client, dialogues[-1], "care warm-up")
            begun = spent()
            for number, row in enumerate(dialogues):
                failed += sum(answer.is_error for answer in await walk(client, row, f"care cost {number}"))
            taken[way] = spent() - begun
        run.console.log(f"turns {way}: {taken[way].seconds:.1f} CPU seconds")
    return figures(taken, len(newest), failed)


def figures(taken: dict[str, Spent], turns: int, failed: int) -> Found:
    bare = taken["bare"].seconds
    return {
        "turns": turns,
        "errors": failed,
        **{
            way: {
                "cpu_seconds": round(cost.seconds, 2),
                "of_them_in_engine_processes": round(cost.engine, 2),
                "cpu_ms_a_turn": round(1000 * cost.seconds / turns, 2),
                "to_bare": round(cost.seconds / bare, 3) if bare else None,
            }
            for way, cost in taken.items()
        },
        "missed": complaints((not failed, f"{failed} turns answered with an error")),
    }
