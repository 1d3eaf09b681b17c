"""The reading of a turn's newest line: phrases, the classifier's word, and what earlier lines leave."""

import logging
from collections.abc import Callable, Sequence

from psychechat.admission.lanes import Permit
from psychechat.concurrency import in_time, together
from psychechat.conversation import Assessment, Reading
from psychechat.engines.base import Call
from psychechat.errors import EngineUnavailable
from psychechat.logs import log_kind
from psychechat.pipeline import accounting
from psychechat.pipeline.request import TurnMeter
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.state import TurnState
from psychechat.pipeline.turn_memory import line_reader
from psychechat.safety.conversation_risk import LineReader

logger = logging.getLogger(__name__)


class TurnReader:
    """Puts the reading into the turn's state at once, so that a crisis is known even before routing."""

    def __init__(
        self,
        pipeline: Pipeline,
        state: TurnState,
        meter: TurnMeter,
        call: Callable[[], Call],
        open_crisis: Callable[[Reading], None],
    ) -> None:
        """`call`: what the classifier is asked with, as urgent as the turn is by then. `open_crisis`: lets the fixed
        words of a crisis leave, once."""
        self._pipeline, self._state, self._meter = pipeline, state, meter
        self._call, self._open_crisis = call, open_crisis

    async def read(self, permit: Permit, reader: LineReader) -> None:
        state = self._state
        with permit, self._meter.timed("classify"):
            assessments, _ = await together(self._classify(reader.passages), reader.search())
            if assessments and (doubted := reader.doubted):
                if (alone := state.read_alone(reader.newest, assessments)).in_crisis:
                    self._open_crisis(alone)  # whatever is said of earlier lines
                assessments |= await self._classify(doubted)
        state.read(reader.newest, reader.names, reader.before(assessments), assessments)
        if state.reading.in_crisis:
            self._open_crisis(state.reading)
        accounting.note_crisis(self._pipeline, state)

    def read_by_phrases(self) -> None:
        """Reading of a crisis whose turn ended before the classifier's: it holds the conversation all the same."""
        if self._state.line is None and self._state.reading.in_crisis:
            reader = line_reader(self._pipeline, self._state)
            self._state.read(reader.newest, reader.names, reader.before({}), {})

    async def _classify(self, passages: Sequence[str]) -> dict[str, Assessment]:
        """Assessments by passage. Any failure is logged and counted, and leaves the risk unknown."""
        try:
            async with in_time(self._state.checking_seconds):
                assessments = await self._pipeline.classifier.classify(passages, self._call())
            if not all(assessment.is_finite for assessment in assessments):
                raise EngineUnavailable("The classifier's answer cannot be used.")
        except Exception as error:
            log_kind(logger, self._state.request.request_id, error, "risk unknown")
            self._pipeline.metrics.classifier_failures.labels(accounting.classifier_cause(error)).inc()
            return {}
        return dict(zip(passages, assessments, strict=True))
