"""What the turns of a scenario come to, and which promises were broken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.chaos.seekers import Ended, Talk


def tally(ended: Sequence[Ended], blow: float, restored: float | None) -> dict[str, Any]:
    """`blow` and `restored` are moments of the monotonic clock; `restored` None: it never was.

    Seconds count from the blow. A turn under way when it came may have been sent before it.
    """
    crises = [one for one in ended if one.crisis]
    late = [one.sent + one.seconds - blow for one in ended if not one.undisturbed and one.sent + one.seconds > blow]
    return {
        "turns": len(ended),
        "whole": sum(one.outcome == "whole" for one in ended),
        "disturbed": sum(not one.undisturbed for one in ended),
        "retried": sum(one.outcome == "whole" and one.requests > 1 for one in ended),
        "cut_and_told": sum(one.cuts > 0 for one in ended),
        "cut_in_the_end": sum(one.outcome == "cut" for one in ended),
        "failed": sum(one.outcome == "failed" for one in ended),
        "lost": sum(one.outcome == "lost" for one in ended),
        "parts_taken_for_the_whole": sum(one.outcome == "part" for one in ended),
        "crises": {
            "turns": len(crises),
            "asked_again": sum(one.requests > 1 for one in crises),
            "safe_templates": sum(one.safe_template for one in crises),
            "unanswered": sum(one.outcome != "whole" for one in crises),
        },
        "safe_templates": sum(one.safe_template and not one.crisis for one in ended),
        "troubles": dict(Counter(trouble for one in ended for trouble in one.troubles)),
        "last_disturbed_s": round(max(late, default=0.0), 1),
        "restored_s": None if restored is None else round(restored - blow, 1),
        "longest_turn_s": round(max((one.seconds for one in ended), default=0.0), 1),
    }


def broken(found: dict[str, Any], *, loses_none: bool) -> list[str]:
    """`loses_none`: nothing has died, so no turn may be the worse for it."""
    promises = {
        "no turn ended": found["turns"] == 0,
        "a part of a reply was taken for the whole": found["parts_taken_for_the_whole"] > 0,
        "a crisis turn was not answered": found["crises"]["unanswered"] > 0,
        "a turn had no answer": found["lost"] > 0,
        "the service was not whole again": found["restored_s"] is None,
    }
    if loses_none:
        promises["a turn failed"] = found["failed"] + found["cut_in_the_end"] > 0
        promises["a stream was cut"] = found["cut_and_told"] > 0
        promises["a turn had to be asked again"] = found["retried"] > 0
    return [name for name, is_broken in promises.items() if is_broken]


def told(talk: Talk) -> str:
    """What has come of a scenario so far, while it is played."""
    disturbed = sum(not one.undisturbed for one in talk.ended)
    return f"{len(talk.ended)} turns, {disturbed} of them disturbed"


def table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each scenario came to, by its name."""
    made = Table(title="Turns, and seconds since the blow")
    columns = ("scenario", "turns", "retried", "cut", "failed", "lost", "parts", "crises", "unanswered")
    for column in (*columns, "last disturbed s", "whole again s"):
        made.add_column(column, justify="left" if column == "scenario" else "right")
    for name, found in results.items():
        made.add_row(
            *(name, str(found["turns"]), str(found["retried"]), str(found["cut_and_told"])),
            *(str(found["failed"] + found["cut_in_the_end"]), str(found["lost"])),
            *(str(found["parts_taken_for_the_whole"]), str(found["crises"]["turns"])),
            *(str(found["crises"]["unanswered"]), str(found["last_disturbed_s"]), str(found["restored_s"] or "never")),
        )
    return made
