"""The seeker's lines as the conversation's risk counts them: by phrases, by the classifier, with their question."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

from psychechat.conversation import Assessment, Conversation, Reading
from psychechat.language import is_within
from psychechat.policy import Policy
from psychechat.risk import HoldRules, LineReading, RiskState, next_state, worse
from psychechat.safety import crisis, overruling, risk_questions
from psychechat.safety.risk_questions import Answered

READ_AGAIN, READ_AGAIN_CHARACTERS = 10, 16_000
"""Of the seeker's lines, where the memory is lost: the last ones, as many as fit, of which each is classified once per
process. Of those before them only the phrases tell, and nothing overrules these."""
SEARCHED = 64
"""Of the seeker's lines: the last ones, in which the phrases are looked for."""
SEARCHED_CHARACTERS = 64_000


@dataclass(frozen=True, slots=True)
class SeekerLine:
    """All that the seeker said between two of the counselor's replies, with the question that it answers."""

    text: str
    answered: Answered | None = None
    """None unless the line is short and follows a question."""
    until: int = 0
    """How many of the conversation's utterances there are up to the end of this line."""

    @property
    def passages(self) -> tuple[str, ...]:
        """What the classifier reads: the line alone, and with its question where the rules cannot tell."""
        asked = self.answered
        if asked is None or risk_questions.severity(asked, held=False) is not None:
            return (self.text,)
        return self.text, asked.together


def seeker_lines(conversation: Conversation) -> list[SeekerLine]:
    """Oldest first, the newest one last."""
    return list(_lines(conversation))


def _lines(conversation: Conversation) -> Iterator[SeekerLine]:
    said: list[str] = []
    before: str | None = None
    for number, utterance in enumerate(conversation.utterances):
        if utterance.speaker == "seeker":
            said.append(utterance.text)
            continue
        if said:
            yield _line(said, before, number)
            said = []
        before = utterance.text
    if said:
        yield _line(said, before, len(conversation.utterances))


def _line(said: Sequence[str], before: str | None, until: int) -> SeekerLine:
    text = "\n".join(said)
    return SeekerLine(text, risk_questions.answered(before, text), until)


def searched(lines: Sequence[SeekerLine]) -> list[SeekerLine]:
    """The last lines, as many as the phrases are looked for in; of the first of them perhaps the end alone."""
    kept: list[SeekerLine] = []
    left = SEARCHED_CHARACTERS
    for line in reversed(lines[-SEARCHED:]):
        kept.append(line if len(line.text) <= left else replace(line, text=line.text[-left:]))
        left -= len(line.text)
        if left <= 0:
            break
    return kept[::-1]


def read_again(lines: Sequence[SeekerLine]) -> list[SeekerLine]:
    """The last lines, as many as are classified again."""
    kept: list[SeekerLine] = []
    left = READ_AGAIN_CHARACTERS
    for line in reversed(lines[-READ_AGAIN:]):
        left -= len(line.text)
        if left < 0:
            break
        kept.append(line)
    return kept[::-1]


@dataclass(frozen=True, slots=True)
class Names:
    """What stands for the words of one conversation where none may be kept: keyed hashes."""

    of_passage: Callable[[str], str]
    places: Callable[[], Sequence[str]]
    """Of the conversation up to each of its utterances."""

    def of_line(self, line: SeekerLine) -> str:
        """Of the conversation up to the line's end."""
        return self.places()[line.until - 1]


@dataclass(frozen=True, slots=True)
class Before:
    """The conversation's state without its newest line."""

    state: RiskState
    """Of memory and lines read again the more careful one."""
    own: RiskState | None = None
    """What this conversation's own words say, where `state` may be more than has been told of it; else None."""


def line_reading(names: Names, line: SeekerLine, reading: Reading) -> LineReading:
    """For the conversation's state. `reading`: of this line."""
    return LineReading(
        line=names.of_passage(line.text),
        severity=reading.severity,
        weighs=line.answered is not None or not says_little(line.text),
        is_long=not says_little(line.text),
        doubted=reading.is_doubted,
        alarm=reading.phrase_severity is not None or reading.alarm,
        other_person=reading.kind == "other_person",
        ideation=reading.share_of_crisis,
        valence=reading.valence if reading.assessment else None,
        kind=reading.kind,
        place=names.of_line(line) if reading.in_crisis else None,
    )


def read_line(
    line: SeekerLine, phrases: Reading, assessments: Mapping[str, Assessment], veto_below: float, before: RiskState
) -> Reading:
    """The reading of a line, live or read again. `phrases`: what those say of it; `assessments`: the classifier's by
    passage; `veto_below`: of the policy's risk; `before`: the conversation's state without this line.
    """
    asked, held = line.answered, before.held
    reading = overruling.overruled(phrases, assessments, veto_below, held=held)
    answer = risk_questions.severity(asked, held=held) if asked else None
    return replace(
        reading,
        kind=reading.kind or (risk_questions.kind(asked, answer) if asked else None),
        doubt=1.0 if asked and risk_questions.is_about_risk(asked, held=held) else HoldRules().doubt(before),
        assessment=assessments.get(line.text),
        with_question=assessments.get(asked.together) if asked else None,
        is_about_risk=asked is not None and risk_questions.is_about_risk(asked, held=held),
        answer=answer,
    )


def reread(
    lines: Sequence[tuple[SeekerLine, Reading]],
    assessments: Mapping[str, Assessment],
    veto_below: float,
    names: Names,
    *,
    doubts: bool,
) -> RiskState:
    """State that the earlier lines, each with what its phrases say, add up to, oldest first, where no memory tells it.

    `assessments`: the classifier's, by passage; a line that is not there is unknown, but for its phrases. `doubts`:
    whether calm lines make the classifier doubted.
    """
    state = RiskState()
    for line, phrases in lines:
        before = state if doubts else replace(state, calm=0)
        reading = read_line(line, phrases, assessments, veto_below, before)
        state = next_state(state, [line_reading(names, line, reading)], HoldRules())
    return state


class LineReader:
    """What a turn reads of the seeker's lines: the newest one, and earlier ones where the memory does not tell."""

    def __init__(
        self,
        lines: Sequence[SeekerLine],
        phrases: Reading,
        policy: Policy,
        remembered: RiskState | None,
        cache: MutableMapping[str, Assessment],
        names: Names,
        *,
        again: bool,
    ) -> None:
        """`phrases`: what those say of the newest line. `remembered`: the state in memory, if any. `again`: it is
        missing or of other words than these.

        `cache` holds what was read in this process, by a passage's keyed hash.
        """
        *earlier, self.newest = lines
        self._earlier = searched(earlier) if again else []
        self._classified = read_again(self._earlier)
        self._again = again
        self._searched: list[tuple[SeekerLine, Reading]] = []
        self._phrases, self._policy, self._veto_below = phrases, policy, policy.risk.veto_below or 0.0
        self._remembered, self._cache, self.names = remembered, cache, names

    @property
    def passages(self) -> list[str]:
        """For the classifier, the newest line's first."""
        unread = self._unread(passage for line in self._classified for passage in line.passages)
        doubted = self._phrases.doubted if self._veto_below else ()
        return list(dict.fromkeys((*self.newest.passages, *doubted, *unread)))

    async def search(self) -> None:
        """Look for the phrases in earlier lines, for those that the door has let in. After each line other turns get
        their time.
        """
        blank = Reading(self._phrases.language, self._phrases.thresholds)
        for place, line in enumerate(self._earlier, start=1):
            read = crisis.read(blank, line.text, self._policy.crisis.backstop)
            is_classified = place > len(self._earlier) - len(self._classified)
            self._searched.append((line, read if is_classified else replace(read, doubted=())))
            await asyncio.sleep(0)

    @property
    def doubted(self) -> list[str]:
        """More for the classifier: what may overrule the phrases that `search` found."""
        if not self._veto_below:
            return []
        return list(dict.fromkeys(self._unread(p for _, phrases in self._searched for p in phrases.doubted)))

    def before(self, assessments: Mapping[str, Assessment]) -> Before:
        """State before the newest line, once earlier ones were searched.

        Memory of this very conversation may know another one's hold, where two go by one session's name.
        """
        name = self.names.of_passage
        self._cache.update({name(passage): assessment for passage, assessment in assessments.items()})
        if not self._again:
            remembered = self._remembered or RiskState()
            foreign = remembered.held and remembered.episode not in self.names.places()
            return Before(remembered, RiskState() if foreign else None)
        passages = (p for line, phrases in self._searched for p in (*line.passages, *phrases.doubted))
        known = {passage: self._cache[name(passage)] for passage in passages if name(passage) in self._cache}
        doubts = self._policy.risk.conversation == "on"
        again = reread(self._searched, known, self._veto_below, self.names, doubts=doubts)
        return Before(worse(self._remembered, again) if self._remembered else again, again)

    def _unread(self, passages: Iterable[str]) -> Iterator[str]:
        return (passage for passage in passages if self.names.of_passage(passage) not in self._cache)


_MOST_WORDS, _MOST_HAN = 3, 6


def says_little(text: str) -> bool:
    """Too short to be a sign of calm by itself, or of who speaks."""
    return is_within(text, words=_MOST_WORDS, han=_MOST_HAN)
