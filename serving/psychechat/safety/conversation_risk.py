"""The seeker's lines as the conversation's risk counts them: by phrases, by the classifier, with their question."""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from psychechat.conversation import Assessment, Conversation, Reading
from psychechat.policy import Policy
from psychechat.risk import HoldRules, LineReading, RiskState, next_state, worse
from psychechat.safety import crisis, overruling, risk_questions
from psychechat.safety.risk_questions import Answered

READ_AGAIN = 10
"""Of the seeker's lines, where the memory is lost: the last ones, of which each is classified once per process."""
SEARCHED = 64
"""Of the seeker's lines: the last ones, in which the phrases are looked for."""
SEARCHED_CHARACTERS = 64_000


@dataclass(frozen=True, slots=True)
class SeekerLine:
    """All that the seeker said between two of the counselor's replies, with the question that it answers."""

    text: str
    answered: Answered | None = None
    """None unless the line is short and follows a question."""

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
    for utterance in conversation.utterances:
        if utterance.speaker == "seeker":
            said.append(utterance.text)
            continue
        if said:
            yield _line(said, before)
            said = []
        before = utterance.text
    if said:
        yield _line(said, before)


def _line(said: Sequence[str], before: str | None) -> SeekerLine:
    text = "\n".join(said)
    return SeekerLine(text, risk_questions.answered(before, text))


def searched(lines: Sequence[SeekerLine]) -> list[SeekerLine]:
    """The last lines, as many as the phrases are looked for in."""
    kept: list[SeekerLine] = []
    left = SEARCHED_CHARACTERS
    for line in reversed(lines[-SEARCHED:]):
        left -= len(line.text)
        if left < 0:
            break
        kept.append(line)
    return kept[::-1]


def line_reading(name: str, line: SeekerLine, reading: Reading) -> LineReading:
    """For the conversation's state. `name`: the line's keyed hash; `reading`: of this line."""
    return LineReading(
        line=name,
        severity=reading.severity,
        weighs=line.answered is not None or not _says_little(line.text),
        alarm=reading.phrase_severity is not None or reading.alarm,
        other_person=reading.kind == "other_person",
        ideation=reading.ideation,
        valence=reading.valence if reading.assessment else None,
    )


def read_line(
    line: SeekerLine, phrases: Reading, assessments: Mapping[str, Assessment], veto_below: float, *, held: bool
) -> Reading:
    """The reading of a line, live or read again. `phrases`: what those say of it; `assessments`: the classifier's by
    passage; `veto_below`: of the policy's risk; `held`: whether a crisis held the conversation before this line.
    """
    asked = line.answered
    reading = overruling.overruled(phrases, assessments, veto_below, held=held)
    return replace(
        reading,
        assessment=assessments.get(line.text),
        with_question=assessments.get(asked.together) if asked else None,
        answer=risk_questions.severity(asked, held=held) if asked else None,
    )


def reread(
    lines: Sequence[tuple[SeekerLine, Reading]],
    assessments: Mapping[str, Assessment],
    veto_below: float,
    name: Callable[[str], str],
) -> RiskState:
    """State that the earlier lines, each with what its phrases say, add up to, oldest first, where no memory tells it.

    `assessments`: the classifier's, by passage; a line that is not there is unknown, but for its phrases.
    """
    state = RiskState()
    for line, phrases in lines:
        reading = read_line(line, phrases, assessments, veto_below, held=state.held)
        state = next_state(state, [line_reading(name(line.text), line, reading)], HoldRules())
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
        name: Callable[[str], str],
        *,
        again: bool,
    ) -> None:
        """`phrases`: what those say of the newest line. `remembered`: the state in memory, if any. `again`: it is
        missing or of other words than these.

        `name` gives a passage's keyed hash, under which `cache` holds what was read in this process.
        """
        *earlier, self.newest = lines
        self._earlier = earlier[-READ_AGAIN:] if again else []
        self._phrases, self._policy, self._veto_below = phrases, policy, policy.risk.veto_below or 0.0
        self._remembered, self._cache, self.name = remembered, cache, name

    @property
    def passages(self) -> list[str]:
        """For the classifier, the newest line's first."""
        unread = self._unread(passage for line in self._earlier for passage in line.passages)
        doubted = self._phrases.doubted if self._veto_below else ()
        return list(dict.fromkeys((*self.newest.passages, *doubted, *unread)))

    @property
    def doubted(self) -> list[str]:
        """More for the classifier: what may overrule the phrases of earlier lines. They are looked for now, which is
        for those that the door has let in."""
        if not self._veto_below:
            return []
        return list(dict.fromkeys(self._unread(p for _, phrases in self._searched for p in phrases.doubted)))

    def before(self, assessments: Mapping[str, Assessment]) -> RiskState:
        """The conversation's state without the newest line: of memory and lines read again the more careful one."""
        self._cache.update({self.name(passage): assessment for passage, assessment in assessments.items()})
        remembered = self._remembered or RiskState()
        if not self._earlier:
            return remembered
        passages = (p for line, phrases in self._searched for p in (*line.passages, *phrases.doubted))
        known = {passage: self._cache[self.name(passage)] for passage in passages if self.name(passage) in self._cache}
        return worse(remembered, reread(self._searched, known, self._veto_below, self.name))

    @cached_property
    def _searched(self) -> list[tuple[SeekerLine, Reading]]:
        """Earlier lines with what their phrases say."""
        blank = Reading(self._phrases.language, self._phrases.thresholds)
        return [(line, crisis.read(blank, line.text, self._policy.crisis.backstop)) for line in self._earlier]

    def _unread(self, passages: Iterable[str]) -> Iterator[str]:
        return (passage for passage in passages if self.name(passage) not in self._cache)


_MOST_WORDS, _MOST_HAN = 3, 6


def _says_little(text: str) -> bool:
    """Too short to be a sign of calm by itself."""
    return risk_questions.words(text) <= _MOST_WORDS and risk_questions.han(text) <= _MOST_HAN
