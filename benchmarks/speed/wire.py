"""One request as a client sees it: when its words came, what they cost, what went wrong."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

SECONDS = 300.0
KEEP_SECONDS = 1.0
"""A server that was held still has closed, by its clock, connections that waited longer."""


@dataclass
class Answer:
    """Times in seconds since the request was sent."""

    error: str | None = None
    """None: whole. A status with the error's code, the kind of a broken connection, or `cut`."""
    deltas: list[float] = field(default_factory=list)
    """When each piece with words came. Thinking that is shown counts as words, but not the tag that opens it."""
    text: str = ""
    seconds: float = 0.0
    finish: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    found: Mapping[str, Any] = field(default_factory=dict)
    """Our server's `psychechat` object."""


async def chat(
    http: aiohttp.ClientSession, url: str, body: Mapping[str, Any], heard: Callable[[str], None] = lambda _: None
) -> Answer:
    """Stream one chat completion. `heard` gets each piece as it comes."""
    answer = Answer()
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    started = time.perf_counter()
    done = False
    try:
        async with http.post(f"{url}/v1/chat/completions", data=orjson.dumps(body), headers=JSON) as response:
            if response.status != 200:
                answer.error = await _complaint(response)
                return answer
            async for line in response.content:
                if not line.startswith(b"data: "):
                    continue
                if line.startswith(b"data: [DONE]"):
                    done = True
                    continue
                _take(answer, orjson.loads(line[6:]), started, heard)
    except (aiohttp.ClientError, TimeoutError) as error:
        answer.error = type(error).__name__
    finally:
        answer.seconds = time.perf_counter() - started
    if not done:
        answer.error = answer.error or "cut"
    return answer


def _take(answer: Answer, chunk: dict[str, Any], started: float, heard: Callable[[str], None]) -> None:
    if "error" in chunk:
        answer.error = f"200 {(chunk['error'] or {}).get('code')}"
        return
    if usage := chunk.get("usage"):
        answer.prompt_tokens = usage["prompt_tokens"]
        answer.completion_tokens = usage["completion_tokens"]
        answer.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    answer.found = chunk.get("psychechat") or answer.found
    for choice in chunk["choices"]:
        delta = choice["delta"]
        words = (delta.get("reasoning_content") or delta.get("reasoning") or "") + (delta.get("content") or "")
        if words:
            answer.text += words
            if answer.deltas or answer.text.replace("<think>", "").strip():
                answer.deltas.append(time.perf_counter() - started)
            heard(words)
        answer.finish = choice.get("finish_reason") or answer.finish


async def post(http: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> tuple[str | None, Any]:
    """What went wrong, if anything, and the JSON that came back."""
    try:
        async with http.post(url, data=orjson.dumps(body), headers=JSON) as response:
            if response.status != 200:
                return await _complaint(response), None
            return None, orjson.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__, None


def client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_SECONDS),
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        read_bufsize=2**20,
    )


async def _complaint(response: aiohttp.ClientResponse) -> str:
    try:
        code = (orjson.loads(await response.read()).get("error") or {}).get("code")
    except (orjson.JSONDecodeError, AttributeError):
        code = None
    return f"{response.status} {code}"


JSON = {"content-type": "application/json"}
