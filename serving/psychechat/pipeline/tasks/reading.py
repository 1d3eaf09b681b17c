"""Reading of the lines that a background task quotes, and the event of a crisis that no turn was about."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace

from psychechat.conversation import Assessment, Conversation, CrisisTurn, Reading
from psychechat.engines.base import Call
from psychechat.language import choose
from psychechat.pipeline.bulk_classify import classify_all
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.tasks.request import TaskRequest
from psychechat.safety import crisis
from psychechat.safety.conversation_risk import READ_AGAIN, SEARCHED_CHARACTERS, searched, seeker_lines
from psychechat.safety.fixed_replies import FixedReplies
from psychechat.tasks import history


class QuotedLines:
    """The seeker's lines in a task's history, the last ones: read by their phrases, then by the classifier."""

    def __init__(self, pipeline: Pipeline, request: TaskRequest) -> None:
        self._pipeline, self._request = pipeline, request
        self.conversation = history.conversation(request.task.history)
        policy = pipeline.policy
        blank = Reading(choose(self.conversation, pipeline.default_language), policy.thresholds)
        # The end of a line that is too long to be searched whole, as where a page marks no speaker.
        whole = (replace(line, text=line.text[-SEARCHED_CHARACTERS:]) for line in seeker_lines(self.conversation))
        self._lines = [line.text for line in searched([*whole])]
        self._readings = dict.fromkeys(self._lines, blank)
        self.fixed = FixedReplies(policy.crisis, self.conversation, request.locale)
        self._blank, self._backstop = blank, policy.crisis.backstop

    async def search(self) -> None:
        """Look for the phrases; after each line other turns get their time."""
        for line in self._readings:
            self._readings[line] = crisis.read(self._readings[line], line, self._backstop)
            await asyncio.sleep(0)

    async def classify(self, call: Call) -> None:
        """Classifier's answers for the last lines; those that this process has read before are not read again.

        Raises what `classify_all` does.
        """
        cache, last = self._pipeline.read_lines, list(dict.fromkeys(self._lines[-READ_AGAIN:]))
        names = {line: self._pipeline.memory_keys.of_line(self._request.tenant, line) for line in last}
        known: dict[str, Assessment] = {line: cache[name] for line, name in names.items() if name in cache}
        self._read(known)
        if unread := [line for line in last if line not in known]:
            door = self._pipeline.admission.classification
            async with aclosing(classify_all(self._pipeline.classifier, door, unread, lambda: call)) as found:
                read = dict(zip(unread, [assessment async for assessment in found], strict=True))
            cache.update({names[line]: assessment for line, assessment in read.items()})
            self._read(read)

    def _read(self, assessments: Mapping[str, Assessment]) -> None:
        for line, assessment in assessments.items():
            self._readings[line] = replace(self._readings[line], assessment=assessment)

    @property
    def gravest(self) -> Reading:
        """Reading of the gravest line; of severity None if none could be read."""
        return max(self._readings.values(), key=_severity, default=self._blank)

    def unseen_crisis(self) -> CrisisTurn | None:
        """Event of the gravest crisis among the lines that this tenant had no turn for; None: there is none.

        From then on the lines are known.
        """
        lines, request = self._pipeline.crisis_lines, self._request
        unseen = [
            line
            for line, reading in self._readings.items()
            if reading.in_crisis and not lines.knows(request.tenant, line)
        ]
        if not unseen:
            return None
        lines.note(request.tenant, unseen)
        line = max(unseen, key=lambda line: _severity(self._readings[line]))
        reading = self._readings[line]
        conversation = self._until(line)
        return CrisisTurn(
            event="started",
            episode=self._pipeline.episode_keys.places(request.tenant, conversation)[-1],
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

    def _until(self, line: str) -> Conversation:
        """The quoted conversation up to this line: as far as it goes, what the turn would have been about."""
        utterances = self.conversation.utterances
        ends = (end for end in range(1, len(utterances) + 1) if Conversation(utterances[:end]).newest == line)
        return Conversation(utterances[: next(ends, len(utterances))])


def _severity(reading: Reading) -> int:
    return -1 if reading.severity is None else int(reading.severity)
