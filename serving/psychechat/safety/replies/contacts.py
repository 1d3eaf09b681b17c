"""Contacts in what a model wrote: telephone numbers, web and e-mail addresses, account names that nobody gave it.

A made-up number rings at a stranger's, or nowhere, and a seeker may not try a second one. So a contact may leave only
if it is in the policy's resources, in the operator's notes or in what the seeker said.
"""

import re
from collections.abc import Collection, Iterable, Iterator

from psychechat.safety.replies.accounts import accounts, names
from psychechat.safety.replies.addresses import addresses
from psychechat.safety.replies.folding import fold
from psychechat.safety.replies.found import Found, Span
from psychechat.safety.replies.numbers import Number, form, forms, numbers
from psychechat.safety.replies.telephone import telephone_numbers


def allowed_contacts(texts: Iterable[str]) -> frozenset[str]:
    """Contacts of texts that no model wrote, in the form in which they are compared. Made once a turn."""
    contacts: set[str] = set()
    for text in texts:
        for part in _PARTS.findall(text):
            contacts.update(_given(part))
    return frozenset(contacts)


def made_up_contacts(text: str, allowed: Collection[str], start: int = 0) -> tuple[Span, ...]:
    """Contacts that are not among the allowed ones; a sentence that holds one stays here.

    `start`: where the newest sentence begins. What is before it has left, and is there to be understood by.
    """
    spans = sorted(_made_up(text, fold(text), allowed))
    return tuple(span for span in spans if span.end > start)


def warm() -> None:
    """The table read and its patterns compiled, so that no reply waits for it."""
    made_up_contacts("Call one two three or 5555 people, or find A_1 on Telegram at 112 or 3.", ())
    made_up_contacts("微信：a1_b. Write to a@b.example. That was hard.me too.", ())


_PARTS = re.compile(r"[^\n]{1,500}(?![^\s一-鿿])|[^\n]{1,500}")
"""Of a text that may be long: what is on one line belongs together, and no word is cut."""


_MOST_GROUPS = 12
"""Of digits, that are tried as several numbers in a row."""


def _made_up(text: str, folded: str, allowed: Collection[str]) -> Iterator[Span]:
    rest = folded
    for span, named in _named(text, folded):
        if "\x00" not in rest[span.start : span.end]:
            rest = rest[: span.start] + "\x00" * (span.end - span.start) + rest[span.end :]
            if not any(name in allowed for name in named):
                yield span
    for number in telephone_numbers(rest):
        if not _is_allowed(number, number.groups, allowed):
            yield Span(number.start, number.end, "number")


def _is_allowed(number: Number, groups: tuple[str, ...], allowed: Collection[str]) -> bool:
    """Whether it is an allowed number, or several in a row, or one with a small number behind it: "988 24 hours".

    A digit or two that somebody gave allow no part of a number, and a digit behind single digits is one of them.
    """
    if len(groups) == len(number.groups):
        if form(number) in allowed:
            return True
    elif len(groups) == 1 and len(groups[0]) < 3:
        return any(len(group) > 1 for group in number.groups)
    elif len("".join(groups)) > 2 and "".join(groups) in allowed:
        return True
    parts = (("".join(groups[:cut]), groups[cut:]) for cut in range(1, min(len(groups), _MOST_GROUPS)))
    return any(len(part) > 2 and part in allowed and _is_allowed(number, rest, allowed) for part, rest in parts)


def _given(text: str) -> Iterator[str]:
    folded = fold(text)
    for _, named in _named(text, folded):
        yield from named
    for number in numbers(folded):
        yield from forms(number)
        yield from _parts(number)
    yield from names(text)


def _parts(number: Number) -> Iterator[str]:
    """A number that stands in a row with others may be theirs in part: it must be a long one."""
    groups = number.groups[:_MOST_GROUPS]
    for first in range(len(groups)):
        for last in range(first + 1, len(groups) + 1):
            part = "".join(groups[first:last])
            if len(part) > 6:
                yield part


_VANITY = re.compile(
    r"(?<![\w-])(?:13|1300|1800|0800|0808|1-?[89]\d\d|8\d\d)[ -](?:\d{1,3}[ -]?)?"
    r"(?:[A-Z]{4,}|[A-Z]{2,3}-[A-Z]{3,})[A-Z0-9]*\b"
)
"""A number that is spelled with letters."""
_VANITY_HINT = re.compile(r"\d[ -]\d{0,3}[ -]?[A-Z]{2}")


def _named(text: str, folded: str) -> Iterator[Found]:
    """What has a name or letters. They may overlap; then the first one counts."""
    if _VANITY_HINT.search(text):
        for match in _VANITY.finditer(text):
            yield Span(*match.span(), "number"), frozenset({re.sub(r"\W", "", match.group()).lower()})
    yield from addresses(text, folded)
    yield from accounts(text)
