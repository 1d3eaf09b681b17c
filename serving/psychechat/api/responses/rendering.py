"""Rendering of a turn's outcome as OpenAI's response object, and as the events of one."""

import time
from collections.abc import Mapping
from itertools import count
from typing import Any

from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.chat.rendering import Heading, outcome_object
from psychechat.api.http.errors import in_stream
from psychechat.api.http.responses import event
from psychechat.api.http.schemas import (
    FinishReason,
    ModerationError,
    ModerationResult,
    ModerationResults,
    TurnModeration,
)
from psychechat.api.responses import schemas
from psychechat.api.responses.translation import REPLY
from psychechat.conversation import ReplyDelta
from psychechat.engines.base import Usage
from psychechat.pipeline.request import Outcome

PREFIX = "resp_"
_CUT: Mapping[FinishReason, schemas.IncompleteDetails] = {
    "length": {"reason": "max_output_tokens"},
    "content_filter": {"reason": "content_filter"},
}
_ERRORS: Mapping[str, Any] = {"rate_limit_error": "rate_limit_exceeded", "invalid_request_error": "invalid_prompt"}
"""Codes of errors inside a response, of which OpenAI has few, by the type of ours."""


class ResponseObject:
    """One reply as a response, or as its events in the order of the methods. The thinking is in neither."""

    def __init__(self, heading: Heading, body: ChatRequest) -> None:
        self._heading, self._body = heading, body
        self._message = REPLY + heading.id.removeprefix(PREFIX)
        self._numbers = count()

    def whole(self, outcome: Outcome, _: Mapping[int, str], moderation: TurnModeration | None) -> schemas.Response:
        choice = outcome.reply.choices[0]
        details = _CUT.get(choice.finish_reason)
        ended: schemas.Response = {
            **self._response("completed" if details is None else "incomplete"),
            "completed_at": int(time.time()) if details is None else None,
            "incomplete_details": details,
            "output": [self._item(choice.text, choice.finish_reason)],
            "usage": usage_object(outcome.usage),
            "psychechat": outcome_object(outcome, self._heading),
        }
        if moderation is not None:
            ended["moderation"] = {"input": _result(moderation["input"]), "output": _result(moderation["output"])}
        return ended

    def opening(self, choices: int) -> bytes:
        assert choices == 1
        begun = self._response("in_progress")
        return b"".join(
            (
                self._event("response.created", response=begun),
                self._event("response.in_progress", response=begun),
                self._event("response.output_item.added", output_index=0, item=self._item()),
                self._in_part("response.content_part.added", part=_part("")),
            )
        )

    def delta(self, delta: ReplyDelta) -> bytes:
        if not delta.content:
            return b""
        return self._in_part("response.output_text.delta", delta=delta.content, logprobs=[])

    def finish(self, outcome: Outcome, moderation: TurnModeration | None) -> bytes:
        ended = self.whole(outcome, {}, moderation)
        [item] = ended["output"]
        [part] = item["content"]
        return b"".join(
            (
                self._in_part("response.output_text.done", text=part["text"], logprobs=[]),
                self._in_part("response.content_part.done", part=part),
                self._event("response.output_item.done", output_index=0, item=item),
                self._event(f"response.{ended['status']}", response=ended),
            )
        )

    def broken_off(self, error: Exception) -> bytes:
        told = in_stream(self._heading.request_id, error)["error"]
        failed = self._response("failed")
        failed["error"] = {"code": _ERRORS.get(told["type"], "server_error"), "message": told["message"]}
        return self._event("response.failed", response=failed)

    def _event(self, kind: str, **fields: Any) -> bytes:
        return event({"type": kind, "sequence_number": next(self._numbers), **fields}, kind)

    def _in_part(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._message, output_index=0, content_index=0, **fields)

    def _item(self, text: str | None = None, ended: FinishReason | None = None) -> schemas.OutputMessage:
        """The reply's item: without text, as it begins."""
        status: schemas.ItemStatus = "incomplete" if ended in _CUT else "in_progress" if ended is None else "completed"
        return {
            "type": "message",
            "id": self._message,
            "status": status,
            "role": "assistant",
            "content": [] if text is None else [_part(text)],
        }

    def _response(self, status: schemas.Status) -> schemas.Response:
        """Nothing that anybody said is in it, nor, for a browser's key, what else the client named."""
        heading, body = self._heading, self._body
        response: schemas.Response = {
            "id": heading.id,
            "object": "response",
            "created_at": heading.created,
            "completed_at": None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": body.max_completion_tokens,
            "metadata": {} if heading.minimal else body.metadata or {},
            "model": heading.model,
            "system_fingerprint": heading.fingerprint,
            "output": [],
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": {"effort": body.reasoning_effort, "summary": None},
            "store": False,
            "temperature": body.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": None,
        }
        if heading.service_tier is not None:
            response["service_tier"] = heading.service_tier
        return response


def usage_object(usage: Usage) -> schemas.ResponseUsage:
    """Tokens of all stages of the turn together."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _part(text: str) -> schemas.OutputText:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _result(side: ModerationResults | ModerationError) -> ModerationResult | ModerationError:
    """Of one text, as there is one reply."""
    return side if side["type"] == "error" else side["results"][0]
