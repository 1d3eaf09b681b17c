"""Accounting after a turn: quota, metrics, span, escalation.

Errors here are logged and never change the reply.
"""

import logging
from collections.abc import Sequence
from typing import Literal

from psychechat import tracing
from psychechat.conversation import Reply
from psychechat.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    EngineUnavailable,
    Overloaded,
    StageFailed,
)
from psychechat.logs import log_kind
from psychechat.pipeline.request import TurnMeter
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.state import TurnState
from psychechat.pipeline.turn_memory import names
from psychechat.risk import CRISIS
from psychechat.safety.conversation_risk import seeker_lines
from psychechat.safety.escalation import answered
from psychechat.telemetry import FallbackCause, Metrics

logger = logging.getLogger(__name__)

TurnStatus = Literal["reply", "safe_template", "refused", "error"]
"""Metric label of how a turn ended."""

_CAUSES: Sequence[tuple[type[Exception], FallbackCause]] = (
    (ContextLengthExceeded, "context_length"),
    (Overloaded, "overloaded"),
    (DeadlineExceeded, "late"),
    (EngineUnavailable, "unavailable"),
    (StageFailed, "stage_failed"),
)


def fallback_cause(error: Exception) -> FallbackCause:
    """Metric label of an exception; `error` for any other."""
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "error")


def classifier_cause(error: Exception) -> Literal["late", "unavailable", "error"]:
    if isinstance(error, TimeoutError | DeadlineExceeded):
        return "late"
    return "unavailable" if isinstance(error, EngineUnavailable) else "error"


def first_words(pipeline: Pipeline, state: TurnState, meter: TurnMeter) -> None:
    """Count the time to the first words of a reply."""
    pipeline.metrics.first_token_seconds.labels(state.decision_so_far.mode).observe(meter.elapsed)


def note_crisis(pipeline: Pipeline, state: TurnState) -> None:
    """Remember a crisis's lines, so that a background task that quotes them raises no event of its own. Nor shall one
    that quotes a line alone which was doubted for the calm before it."""
    reading = state.reading
    if reading.in_crisis or reading.is_doubted or reading.conversation.peak >= CRISIS:
        lines = seeker_lines(state.request.conversation)[-_NOTED:]
        pipeline.crisis_lines.note(state.request.tenant, (line.text for line in lines))


_NOTED = 10
"""Of the seeker's lines: the last ones, as many as chat pages quote."""


def escalate(pipeline: Pipeline, state: TurnState, reply: Reply | None) -> None:
    """Escalation of a turn that those who look after crises may want to know of, with or without a reply."""
    try:
        note_crisis(pipeline, state)
        turn = state.crisis_turn(reply, names(pipeline, state.request).places)
        if turn is not None and pipeline.escalations is not None:
            pipeline.escalations.escalate(turn)
    except Exception as error:
        log_kind(logger, state.request.request_id, error, "the escalation failed")


def account(
    pipeline: Pipeline, state: TurnState, meter: TurnMeter, reply: Reply | None, status: TurnStatus | None
) -> None:
    """Quota charge, metrics and span of the turn. `status` None: it was cancelled (client gone, or shutdown)."""
    decision = state.decision_so_far
    try:
        pipeline.quotas.charge(state.request.tenant, meter.usage.prompt_tokens + meter.usage.completion_tokens)
        _count_turn(pipeline.metrics, state, status)
        if state.decision or reply:  # past routing, or answered before it
            _count_reading(pipeline.metrics, state)
        _count_seconds(pipeline.metrics, state, meter)
        tracing.describe(mode=decision.mode, reason=decision.reason, answered=answered(reply))
    except Exception as error:
        log_kind(logger, state.request.request_id, error, "the turn is not all accounted for")


def _count_turn(metrics: Metrics, state: TurnState, status: TurnStatus | None) -> None:
    if status is not None:
        metrics.turns.labels(state.decision_so_far.mode, state.decision_so_far.reason, status).inc()
    if state.reading.in_crisis:
        metrics.crises.labels(state.reading.source).inc()
        metrics.crisis_kinds.labels(state.reading.kind or "untold", state.reading.language).inc()
        if status in ("refused", "error"):
            metrics.crises_refused.inc()


def _count_reading(metrics: Metrics, state: TurnState) -> None:
    severity = state.reading.severity
    metrics.risk_turns.labels("unknown" if severity is None else severity.label).inc()
    if state.reading.overruled:
        metrics.phrases_overruled.inc()
    metrics.languages.labels(state.reading.language).inc()
    risk = state.reading.conversation
    metrics.conversations.labels("held" if risk.held else "rising" if risk.is_rising else "calm").inc()
    for emotion in state.reading.emotions:
        metrics.emotions.labels(emotion.label.name()).inc()


def _count_seconds(metrics: Metrics, state: TurnState, meter: TurnMeter) -> None:
    metrics.turn_seconds.labels(state.decision_so_far.mode).observe(meter.elapsed)
    for stage, seconds in meter.seconds.items():
        metrics.stage_seconds.labels(stage).observe(seconds)
