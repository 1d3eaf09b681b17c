"""`moderation` object of a chat response, for requests with `moderation`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from psychechat.api.http import schemas
from psychechat.api.texts.protocol import MODEL
from psychechat.api.texts.rendering import verdict
from psychechat.pipeline.request import Outcome
from psychechat.risk import Severity


def of_turn(outcome: Outcome) -> schemas.TurnModeration:
    """`moderation` object: of the seeker's newest message, whatever was before it, and of the model's replies.

    Its shape is that of `openai.types.chat.chat_completion.Moderation`.
    """
    reading, replies = replace(outcome.reply.reading, doubt=1.0), outcome.moderation
    return {
        "input": _NO_ANSWER if reading.severity is None else _results([(reading.severity, reading.scores)]),
        "output": _NO_ANSWER if replies is None else _results([(reply.severity, reply.scores) for reply in replies]),
    }


_NO_ANSWER: schemas.ModerationError = {
    "type": "error",
    "code": "engine_unavailable",
    "message": "The classifier gave no answer.",
}


def _results(read: Sequence[tuple[Severity, Mapping[Severity, float]]]) -> schemas.ModerationResults:
    results: list[schemas.ModerationResult] = [
        {"type": "moderation_result", "model": MODEL, **verdict(severity, scores)} for severity, scores in read
    ]
    return {"type": "moderation_results", "model": MODEL, "results": results}
