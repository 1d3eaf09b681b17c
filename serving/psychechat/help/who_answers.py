"""Whether a seeker asks who answers, a person or a program, or asks for a person.

Both deserve the truth, whatever a model would say: a model that learned from counselors' words says that it is one.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from psychechat import fast_yaml
from psychechat.help.plain import plain

Asked = Literal["identity", "person"]
"""`identity`: who or what answers. `person`: for somebody human."""

MOST_CHARACTERS = 4_000
"""Of a message: its end is looked at, where a question stands."""
_BEFORE = 60
"""Characters before a question in which it may be told of."""
_ALONE_WORDS, _ALONE_HAN = 14, 22
"""A message with more says something besides its question."""

_HAN = re.compile(r"[㐀-鿿぀-ヿ]")


def asked(message: str) -> Asked | None:
    """What the message asks; None: nothing of the kind. A question that somebody else is quoted with is not asked."""
    text = plain(message[-MOST_CHARACTERS:])
    table = _table()
    if table.asks(table.person, text):
        return "person"
    return "identity" if table.asks(table.identity, text) else None


def is_all(message: str) -> bool:
    """Whether a message that asks says hardly more than that."""
    han = len(_HAN.findall(message))
    return han <= _ALONE_HAN and len(_HAN.sub(" ", message).split()) <= _ALONE_WORDS


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: tuple[re.Pattern[str], ...]
    person: tuple[re.Pattern[str], ...]
    told_of: re.Pattern[str]

    def asks(self, patterns: Sequence[re.Pattern[str]], text: str) -> bool:
        starts = (match.start() for pattern in patterns for match in pattern.finditer(text))
        return any(not self.told_of.search(text, max(0, start - _BEFORE), start) for start in starts)


@cache
def _table() -> _Table:
    told = fast_yaml.load(files("psychechat").joinpath("help", "who_answers.yaml").read_text("utf-8"))
    names = {name: f"(?:{'|'.join(words)})" for name, words in told.pop("words").items()}

    def filled(pattern: str) -> str:
        return re.sub(r"<(\w+)>", lambda found: names[found[1]], pattern)

    return _Table(
        identity=tuple(re.compile(filled(line)) for line in told["identity"]),
        person=tuple(re.compile(filled(line)) for line in told["person"]),
        told_of=re.compile(told["told_of"]),
    )
