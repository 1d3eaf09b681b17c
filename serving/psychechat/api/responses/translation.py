"""What a body of `/v1/responses` is in chat's words, whatever its make, so that a turn is the same by either way."""

import re
from collections.abc import Mapping
from typing import Any

from psychechat.api.chat.protocol import TurnBody, role_meant, spoken
from psychechat.errors import InvalidRequest
from psychechat.policy import MOST_MESSAGES

_UNREAD = {
    *("reasoning", "item_reference", "compaction", "compaction_trigger", "configuration_update", "additional_tools"),
    *("tool_search_output", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"),
    *("program", "program_output"),
}
_CALLS = ("_call", "_call_output")
"""Types of items that no counselor can read, and how the others' end."""
REPLY = "msg_"
"""With which the id of a reply begins."""
_LOST = "…"
"""For a reply that is sent as its id alone: its words are kept nowhere, and without it the seeker's messages before and
after it would be one.
"""


def as_chat(body: object) -> object:
    """Chat's body of any value of JSON. Fields that only one of the two has are left out."""
    if not isinstance(body, dict):
        return items(body)
    fields: dict[str, Any] = {name: body[name] for name in TurnBody.model_fields if name in body}
    if "max_output_tokens" in body:
        fields["max_completion_tokens"] = body["max_output_tokens"]
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict) and "effort" in reasoning:
        fields["reasoning_effort"] = reasoning["effort"]
    notes = [{"role": "system", "content": body["instructions"]}] if _has_note(body) else []
    said = items(spoken(body, ("input", "messages", "prompt")))
    return {**fields, "messages": [*notes, *said[-(MOST_MESSAGES - len(notes)) :]]}


def items(said: object) -> list[Any]:
    """Messages, one for each of the last items of an `input`, as many as any policy may allow."""
    if isinstance(said, list):
        return [_message(item) for item in said[-MOST_MESSAGES:]]
    if isinstance(said, dict):
        return [_message(said)]
    return [] if said is None else [{"role": "user", "content": said}]


def _message(item: object) -> object:
    """What a counselor cannot read is a tool's; an item of an unknown type has that for a role that nobody knows, and
    so what it says is the seeker's.
    """
    if not isinstance(item, dict):
        return item
    kind, name = _kind(item), item.get("id")
    if kind == "item_reference" and isinstance(name, str) and name.startswith(REPLY):
        return {"role": "assistant", "content": _LOST}
    if item.get("content") is None and "text" in item:
        item = {**item, "content": item["text"]}
    if kind in (None, "message") or not isinstance(kind, str) or _is_seekers(item):
        return item
    if kind in _UNREAD or kind.endswith(_CALLS):
        return {"role": "tool"}
    return {"role": kind, "content": None, **item}


def _kind(item: Mapping[str, Any]) -> object:
    """Type of an item, which a message and a reference may lack."""
    refers = "id" in item and not {"role", "content", "text"} & item.keys()
    return item.get("type") or ("item_reference" if refers else None)


def _is_seekers(item: Mapping[str, Any]) -> bool:
    role = item.get("role")
    return isinstance(role, str) and role_meant(role) == "user"


def renamed(error: InvalidRequest, body: object) -> InvalidRequest:
    """The error by the names of this endpoint."""
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
    if "messages" in fields:
        return error  # which may be about that very field
    notes = int(_has_note(fields))

    def name(match: re.Match[str]) -> str:
        place, inside = match.groups()
        if place is not None and int(place) < notes:
            return "instructions"
        if place is None or isinstance(fields.get("input"), str):
            return "input"
        return f"input[{int(place) - notes}]{inside or ''}"

    error.param = _MESSAGES.sub(name, error.param or "") or None
    error.message = _MESSAGES.sub(name, error.message)
    error.args = (error.message,)
    return error


_MESSAGES = re.compile(r"(?:^|(?<='))messages(?:\[(\d+)\])?(\.\w+)?")


def _has_note(body: Mapping[str, Any]) -> bool:
    note = body.get("instructions")
    return isinstance(note, str) and bool(note.strip())
