"""One turn as a client sees it, by OpenAI's API, of a server that is reached by its address or lies in this process."""

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

Messages = list[dict[str, Any]]
MODELS = ("psychechat", "psychechat-llm", "psychechat-agent")
SECONDS = 120.0
"""Longer than a turn may take."""


@dataclass
class Answer:
    """Times in seconds since the request was sent. `status` is 0 where the connection broke."""

    status: int = 0
    code: str | None = None
    """Of an error, also of one that came in the middle of a stream."""
    pieces: list[str] = field(default_factory=list)
    """Of the first choice, as they came; of a reply that came whole, one."""
    texts: dict[int, str] = field(default_factory=dict)
    """By choice."""
    finish: dict[int, str] = field(default_factory=dict)
    first_seconds: float | None = None
    seconds: float = 0.0
    done: bool = False
    """Whole: a stream has said so, and every choice has its reason to end."""
    found: Mapping[str, Any] = field(default_factory=dict)
    """The `psychechat` object."""

    @property
    def text(self) -> str:
        return self.texts.get(0, "")

    @property
    def is_error(self) -> bool:
        return self.status != 200 or self.code is not None or not self.done

    @property
    def reason(self) -> str | None:
        return self.found.get("reason")

    @property
    def is_held(self) -> bool:
        """Whether the conversation is, by the state that the reply tells, else by why the turn was routed."""
        state = (self.found.get("risk") or {}).get("conversation") or {}
        return bool(state.get("held", self.reason in ("held", "crisis")))

    def review(self, name: str) -> bool:
        return bool((self.found.get("review") or {}).get(name))


class Client:
    """Asks a server. One that cannot be reached answers with status 0."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def turn(
        self,
        messages: Messages,
        *,
        model: str = "psychechat",
        stream: bool = False,
        session: str | None = None,
        **more: Any,
    ) -> Answer:
        body = {"model": model, "messages": messages, **({"stream": True} if stream else {}), **more}
        headers = {"x-session-id": session} if session else {}
        answer, started = Answer(), time.perf_counter()
        try:
            async with self._http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
                answer.status = response.status_code
                if stream and answer.status == 200:
                    async for line in response.aiter_lines():
                        _take(answer, line, started)
                else:
                    _whole(answer, await response.aread())
        except httpx.HTTPError as error:
            answer.status, answer.code = 0, type(error).__name__
        answer.seconds = time.perf_counter() - started
        return answer

    async def classify(self, text: str) -> float:
        """Seconds. Raises httpx.HTTPError where the server does not answer."""
        started = time.perf_counter()
        response = await self._http.post("/v1/classify", json={"input": text})
        response.raise_for_status()
        return time.perf_counter() - started


@asynccontextmanager
async def reached(url: str, key: str | None) -> AsyncIterator[Client]:
    """A client of the server at this address, with or without `/v1` at its end."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(
        base_url=url.rstrip("/").removesuffix("/v1"), headers=headers, timeout=SECONDS, trust_env=False
    ) as http:
        yield Client(http)


def messages(lines: Sequence[str]) -> Messages:
    """Of lines that alternate, the seeker's first."""
    return [{"role": "user" if place % 2 == 0 else "assistant", "content": line} for place, line in enumerate(lines)]


def _whole(answer: Answer, body: bytes) -> None:
    try:
        told = json.loads(body)
    except ValueError:
        answer.code = "no JSON"
        return
    if answer.status != 200:
        answer.code = (told.get("error") or {}).get("code") or "null"
        return
    for choice in told["choices"]:
        answer.texts[choice["index"]] = choice["message"]["content"] or ""
        answer.finish[choice["index"]] = choice["finish_reason"]
    answer.pieces = [answer.text]
    answer.found, answer.done = told.get("psychechat") or {}, all(answer.finish.values())


def _take(answer: Answer, line: str, started: float) -> None:
    if not line.startswith("data: "):
        return
    if line == "data: [DONE]":
        answer.done = bool(answer.finish) and answer.code is None
        return
    chunk = json.loads(line.removeprefix("data: "))
    if "error" in chunk:
        answer.code = (chunk["error"] or {}).get("code") or "null"
        return
    answer.found = chunk.get("psychechat") or answer.found
    for choice in chunk["choices"]:
        index, words = choice["index"], choice["delta"].get("content") or ""
        answer.texts[index] = answer.texts.get(index, "") + words
        if words and answer.first_seconds is None:
            answer.first_seconds = time.perf_counter() - started
        if words and index == 0:
            answer.pieces.append(words)
        if choice.get("finish_reason"):
            answer.finish[index] = choice["finish_reason"]
