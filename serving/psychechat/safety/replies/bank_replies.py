"""What of a reply bank would never reach a seeker, because the checks of a model's words would stop it.

A bank is a model's words to them: in a turn a reply that is stopped leaves plain fixed words in its place.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, get_args

from psychechat.conversation import Conversation, Utterance
from psychechat.help.fixed_words import words
from psychechat.policy import Policy
from psychechat.reply_bank import Bank
from psychechat.risk import Kind
from psychechat.safety import output_guard
from psychechat.safety.replies import crisis_reply
from psychechat.safety.replies.broken_text import repeats

_SHOWN = 5
_NOTHING_SAID = Conversation((Utterance("seeker", "."),))


class Stopped(NamedTuple):
    """A reply of a bank that would be stopped. `place`: as in the file, with its number there, from 1 on."""

    place: str
    reason: str


def stopped(bank: Bank, policy: Policy) -> Iterator[Stopped]:
    """Those of the whole bank, with this policy's guard and fixed words. Milliseconds a reply."""
    known = [row.contact for rows in policy.crisis.resources.values() for row in rows]
    context = output_guard.ReplyContext(_NOTHING_SAID, bank.language, lambda: known)
    number, before = 0, ""
    for place, text in bank.replies:
        number, before = number + 1 if place == before else 1, place
        read = output_guard.screen(text, policy.guard, context)
        reason: str | None = read.cause or read.broken or ("contact" if read.withheld else None)
        if place.startswith("crisis."):
            reason = reason or _unfit_in_a_crisis(text, place.removeprefix("crisis."), bank, policy)
        if reason:
            yield Stopped(f"{place}, {number}", reason)


def _unfit_in_a_crisis(text: str, key: str, bank: Bank, policy: Policy) -> str | None:
    if unfit := crisis_reply.check(text, language=bank.language, conversation=_NOTHING_SAID, guard=policy.guard):
        return unfit
    opening = words(bank.language, policy.crisis.words).opening
    kind = next((kind for kind in get_args(Kind) if kind == key), None)
    before = {opening.of(kind, is_sure=is_sure) for is_sure in (True, False)}
    return "repetition" if any(repeats(f"{told} {text}", bank.language) for told in before) else None


def notice(banks: Iterable[Bank], policy: Policy) -> str | None:
    """For who checks settings: which replies would be stopped, some of them by place, never their words; None where
    none would."""
    found = [f"{bank.language}: {where} ({why})" for bank in banks for where, why in stopped(bank, policy)]
    if not found:
        return None
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"Reply banks: {len(found)} would be stopped before they leave: {'; '.join(found[:_SHOWN])}{more}."
