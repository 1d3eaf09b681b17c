"""Reading of the lines that a background task quotes, and the event of a crisis that no turn was about."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import cache, partial

from psychechat.conversation import Assessment, Conversation, CrisisTurn, Reading
from psychechat.engines.base import Call
from psychechat.language import choose
from psychechat.pipeline.bulk_classify import classify_all
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.tasks.request import TaskRequest
from psychechat.risk import HoldRules, RiskState, next_state
from psychechat.safety import crisis
from psychechat.safety.conversation_risk import (
    READ_AGAIN,
    Names,
    SeekerLine,
    line_reading,
    read_line,
    searched,
    seeker_lines,
)
from psychechat.safety.fixed_replies import FixedReplies
from psychechat.tasks import history


class QuotedLines:
    """The seeker's lines in a task's history, the last ones: each is read as a turn reads it, by its phrases, then by
    the classifier. Nothing holds a quoted conversation, so the classifier may overrule a phrase in any line.
    """

    def __init__(self, pipeline: Pipeline, request: TaskRequest) -> None:
        self._pipeline, self._request = pipeline, request
        policy = pipeline.policy
        self.conversation = _last(history.conversation(request.task.history), policy.limits.messages)
        self._blank = Reading(choose(self.conversation, pipeline.default_language), policy.thresholds)
        self._backstop, self._veto_below = policy.crisis.backstop, policy.risk.veto_below or 0.0
        self._doubts = policy.risk.conversation == "on"
        places = partial(pipeline.episode_keys.places, request.tenant, self.conversation)
        self._names = Names(partial(pipeline.memory_keys.of_line, request.tenant), cache(places))
        lines = seeker_lines(self.conversation)
        self._whole = {line.until: line.text for line in lines}
        """By its end what a line says, also one of which only the end is read, as where a page marks no speaker."""
        self._lines = searched(lines)
        self._phrases = dict.fromkeys(self._lines, self._blank)
        self._readings = dict(self._phrases)
        self.fixed = FixedReplies(policy.crisis, self.conversation, request.locale)

    async def search(self) -> None:
        """Look for the phrases; after each line other turns get their time. What this process has read before counts
        at once.
        """
        try:
            for line in self._lines:
                self._phrases[line] = crisis.read(self._blank, line.text, self._backstop)
                await asyncio.sleep(0)
        finally:
            self._read({})

    async def classify(self, call: Call) -> None:
        """Classifier's answers for the last lines; what this process has read before is not read again.

        Raises what `classify_all` does.
        """
        last, known = self._lines[-READ_AGAIN:], self._pipeline.read_lines
        passages = dict.fromkeys(passage for line in last for passage in self._passages(line))
        unread = [passage for passage in passages if self._names.of_passage(passage) not in known]
        if not unread:
            return
        door = self._pipeline.admission.classification
        async with aclosing(classify_all(self._pipeline.classifier, door, unread, lambda: call)) as assessments:
            read = dict(zip(unread, [assessment async for assessment in assessments], strict=True))
        known.update({self._names.of_passage(passage): assessment for passage, assessment in read.items()})
        self._read(read)

    def _passages(self, line: SeekerLine) -> tuple[str, ...]:
        """What the classifier reads of the line, and that which may overrule its phrases."""
        doubted = self._phrases[line].doubted if self._veto_below else ()
        return (*line.passages, *doubted)

    def _known(self, line: SeekerLine) -> dict[str, Assessment]:
        names = {passage: self._names.of_passage(passage) for passage in self._passages(line)}
        known = self._pipeline.read_lines
        return {passage: known[name] for passage, name in names.items() if name in known}

    def _read(self, assessments: Mapping[str, Assessment]) -> None:
        """All lines, oldest first, by these assessments and those that are known."""
        state = RiskState()
        for line in self._lines:
            read = {**self._known(line), **assessments}
            not_held = replace(state, held=False, calm=state.calm if self._doubts else 0)
            reading = read_line(line, self._phrases[line], read, self._veto_below, not_held)
            state = next_state(state, [line_reading(self._names, line, reading)], HoldRules())
            self._readings[line] = reading

    @property
    def gravest(self) -> Reading:
        """Reading of the gravest line; of severity None if none could be read."""
        return max(self._readings.values(), key=lambda reading: reading.gravity, default=self._blank)

    def unseen_crisis(self) -> CrisisTurn | None:
        """Event of the gravest crisis among the lines that this tenant had no turn for; None: there is none.

        From then on the lines are known.
        """
        lines, request = self._pipeline.crisis_lines, self._request
        unseen = [
            line
            for line, reading in self._readings.items()
            if reading.in_crisis and not lines.knows(request.tenant, self._whole[line.until])
        ]
        if not unseen:
            return None
        lines.note(request.tenant, (self._whole[line.until] for line in unseen))
        line = max(unseen, key=lambda line: self._readings[line].gravity)
        reading = self._readings[line]
        conversation = Conversation(self.conversation.utterances[: line.until])
        return CrisisTurn(
            event="started",
            episode=self._names.of_line(line),
            conversation=conversation,
            reading=reading,
            mode="llm",
            answered="unanswered",
            request_id=request.request_id,
            tenant=request.tenant,
            session_id=None,
            client_session_id=None,
            end_user=request.end_user,
            resources_locale=self.fixed.place(reading),
        )


def _last(conversation: Conversation, most: int) -> Conversation:
    """The end of the conversation: as many utterances as a turn's may have messages."""
    return replace(conversation, utterances=conversation.utterances[-most:])
