"""Contacts in sentences, without a server: those that are made up stay, those of the table and other numbers leave.

The sentences were written by someone who had not seen the rule. Nothing but the table's rows is allowed.
"""

import time
from collections.abc import Sequence

from benchmarks.care import texts
from benchmarks.care.counting import share_of, spread
from benchmarks.care.parts.base import Found, complaints
from benchmarks.care.texts import Line
from psychechat.help import resources
from psychechat.safety.replies.contacts import allowed_contacts, made_up_contacts, warm


def allowed() -> frozenset[str]:
    """Of the rows that ship."""
    return allowed_contacts(row.line for rows in resources.shipped().values() for row in rows)


def figures(made_up: Sequence[Line], plain: Sequence[Line]) -> Found:
    warm()
    known = allowed()
    took: list[float] = []

    def is_kept(line: Line) -> bool:
        started = time.process_time()
        found = made_up_contacts(line.text, known)
        took.append(1000 * (time.process_time() - started))
        return bool(found)

    leaving = [line.name for line in made_up if not is_kept(line)]
    kept = [line.name for line in plain if is_kept(line)]
    return {
        "made_up_that_leave": by_kind(made_up, leaving),
        "plain_that_are_kept": by_kind(plain, kept),
        "names": {"made_up_that_leave": leaving, "plain_that_are_kept": kept},
        "ms_a_sentence": spread(took, 3),
        "missed": complaints(
            (not leaving, f"{len(leaving)} of {len(made_up)} made-up contacts leave"),
            (not kept, f"{len(kept)} of {len(plain)} sentences without one are kept"),
        ),
    }


def by_kind(lines: Sequence[Line], names: Sequence[str]) -> Found:
    """How many of the lines are among the names: of all, of each kind and of each language."""
    groups = sorted({line.kind for line in lines} | {line.language for line in lines})
    return {
        "all": share_of(line.name in names for line in lines),
        **{
            group: share_of(line.name in names for line in lines if group in (line.kind, line.language))
            for group in groups
        },
    }


def run() -> Found:
    return figures(*texts.contacts())
