"""Our own log lines as JSON, one a line, where PSYCHECHAT_LOG_FORMAT is `json`. No line holds a word anyone wrote."""

import logging
import os
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from psychechat import tracing

FORMATS = ("text", "json")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being answered."""


class JSONLines(logging.Formatter):
    """`extra={"fields": {...}}` of a call is written beside the rest."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        trace_id, span_id = tracing.current() or (None, None)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            "trace_id": trace_id,
            "span_id": span_id,
            # An exception's own text may quote the conversation.
            "error": record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None,
            **getattr(record, "fields", {}),
        }
        return orjson.dumps({key: value for key, value in line.items() if value is not None}).decode()


def configure(service: str) -> None:
    """For this process, as the environment says. Text is Python's own, from warnings on.

    Raises ValueError for a format that is none.
    """
    asked = os.environ.get("PSYCHECHAT_LOG_FORMAT", "text")
    if asked not in FORMATS:
        raise ValueError(f"PSYCHECHAT_LOG_FORMAT is {asked!r}: it may be {' or '.join(FORMATS)}")
    if asked == "text":
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JSONLines(service))
    for name in ("psychechat", "psychechat_ray"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


def log_unforeseen(logger: logging.Logger, request_id: str, error: Exception) -> None:
    """Of what nobody thought of: its kind and where it happened, without the message, which may quote someone."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("request %s: unforeseen %s at %s:%s", request_id, type(error).__name__, last.filename, last.lineno)


def log_kind(logger: logging.Logger, request_id: str, error: Exception, consequence: str) -> None:
    """An error may quote the conversation, so only its kind is logged."""
    logger.error("request %s: %s; %s", request_id, type(error).__name__, consequence)
