"""JSON log lines of our own loggers, if PSYCHECHAT_LOG_FORMAT is `json`. They never hold text of a conversation."""

import logging
import os
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from psychechat import tracing

FORMATS = ("text", "json")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request that is being handled."""


class JSONLines(logging.Formatter):
    """Formatter: one JSON object per line. `extra={"fields": {...}}` of a log call adds its fields."""

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
    """Logging of this process, by the environment. `text` leaves Python's own, which shows warnings and above.

    Raises ValueError for an unknown format.
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
    """Unexpected error: its type and place, without the message, which may quote the conversation."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("request %s: unforeseen %s at %s:%s", request_id, type(error).__name__, last.filename, last.lineno)


def log_kind(logger: logging.Logger, request_id: str, error: Exception, consequence: str) -> None:
    """Expected error: its type and consequence, without the message, which may quote the conversation."""
    logger.error("request %s: %s; %s", request_id, type(error).__name__, consequence)
