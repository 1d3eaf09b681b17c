"""An OpenAI-compatible server, as the evaluation asks it: for a reply, for JSON, for what the classifier reads."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

Said = Sequence[tuple[Literal["system", "user", "assistant"], str]]
"""Messages: who, and what."""

SECONDS = 120.0
"""For an answer: more than a turn may take."""

TIMEOUT = "timeout"
NOT_OPENAI = "no answer of OpenAI's API"


class NoAnswer(Exception):
    """An endpoint that gave no answer. `kind` is its code, its status or what went wrong, never a word of anybody's."""

    def __init__(self, kind: str, status: int = 0) -> None:
        super().__init__(kind)
        self.kind, self.status = kind, status


@dataclass(slots=True)
class Reply:
    """A counselor's reply; times are in seconds since it was asked for."""

    text: str = ""
    first: str = ""
    """The first piece that came."""
    finish: str | None = None
    found: Mapping[str, Any] = field(default_factory=dict)
    """The `psychechat` object; empty where a server sends none."""
    first_seconds: float = 0.0
    seconds: float = 0.0

    def branch(self, *names: str) -> Mapping[str, Any]:
        """What `found` has under these names, one below the other; empty where there is no such object."""
        value: Any = self.found
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, Mapping) else {}

    def rows(self, name: str) -> Sequence[Mapping[str, Any]]:
        """The objects of a list in `found`."""
        listed = self.found.get(name)
        return [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []


@dataclass(frozen=True, slots=True)
class Read:
    """What a server's classifier reads in a text."""

    emotions: tuple[str, ...]
    """Labels in English."""
    valence: int
    hurting: float | None = None
    """Of a reply, the probability that it hurts; None where the server's heads cannot tell."""


class Endpoint:
    """One model of a server. `seconds`: what an answer may take, all tries together."""

    def __init__(self, client: AsyncOpenAI, model: str, seconds: float = SECONDS) -> None:
        self._client, self.model, self._seconds = client, model, seconds
        self._has_schemas = True

    @classmethod
    def at(cls, url: str, model: str, key: str | None, *, retries: int = 2, seconds: float = SECONDS) -> "Endpoint":
        """`seconds`: of each try."""
        client = AsyncOpenAI(base_url=url, api_key=key or "none", max_retries=retries, timeout=seconds)
        return cls(client, model, seconds * (retries + 1))

    async def close(self) -> None:
        await self._client.close()

    async def reply(
        self, said: Said, *, session: str, locale: str | None = None, seed: int | None = None, known: bool = True
    ) -> Reply:
        """A streamed reply. `known`: whether `metadata` is sent, which some servers refuse. Raises NoAnswer."""
        metadata = {"session_id": session, **({"locale": locale} if locale else {})}
        answer, began = Reply(), time.perf_counter()
        async with self._asking():
            stream = await self._client.chat.completions.create(
                model=self.model,
                messages=_messages(said),
                stream=True,
                seed=openai.omit if seed is None else seed,
                metadata=metadata if known else openai.omit,
            )
            async with stream:
                async for chunk in stream:
                    _take(answer, chunk, began)
        answer.seconds = time.perf_counter() - began
        if answer.finish is None:
            raise NoAnswer("broken off")
        return answer

    async def json(self, said: Said, name: str, schema: Mapping[str, Any], *, temperature: float, seed: int) -> str:
        """Text that should be JSON of this schema: structured output, until the server has answered what it refused
        with a schema once that was left out. Raises NoAnswer.
        """

        async def written(shape: Any) -> str:
            answer = await self._client.chat.completions.create(
                model=self.model,
                messages=_messages(said),
                temperature=temperature,
                seed=seed,
                response_format=shape,
            )
            return str(answer.choices[0].message.content or "") if answer.choices else ""

        async with self._asking():
            if not self._has_schemas:
                return await written(openai.omit)
            try:
                return await written(
                    {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                plain = await written(openai.omit)  # raises too where the schema was not what was wrong
            self._has_schemas = False
        return plain

    async def classify(self, text: str, answering: str | None = None) -> Read:
        """What the server's classifier reads in a text, or in a reply to `answering`. Raises NoAnswer."""
        body = {"input": text} | ({} if answering is None else {"answering": answering})
        async with self._asking("no classifier"):
            answer: Any = await self._client.post("/classify", body=body, cast_to=object)
            classification = answer["data"][0]
            hurting = classification.get("hurting")
            return Read(
                tuple(str(emotion["label"]) for emotion in classification["emotions"]),
                int(classification["valence"]),
                hurting if isinstance(hurting, int | float) else None,
            )

    @asynccontextmanager
    async def _asking(self, other: str = NOT_OPENAI) -> AsyncIterator[None]:
        """Turns what goes wrong inside into NoAnswer: `other` where an answer is of another form, such as a page."""
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except TimeoutError:
            raise NoAnswer(TIMEOUT) from None
        except openai.OpenAIError as error:
            raise _no_answer(error) from None
        except (AttributeError, LookupError, TypeError, ValueError):
            raise NoAnswer(other) from None


def _messages(said: Said) -> Any:
    return [{"role": role, "content": text} for role, text in said]


def _take(answer: Reply, chunk: ChatCompletionChunk, began: float) -> None:
    findings = (chunk.model_extra or {}).get("psychechat")
    answer.found = findings if isinstance(findings, Mapping) else answer.found
    for choice in chunk.choices[:1]:
        answer.finish = choice.finish_reason or answer.finish
        if words := choice.delta.content:
            if not answer.text:
                answer.first, answer.first_seconds = words, time.perf_counter() - began
            answer.text += words


def _no_answer(error: openai.OpenAIError) -> NoAnswer:
    if isinstance(error, openai.APIStatusError):
        return NoAnswer(f"{error.status_code} {error.code or ''}".strip(), error.status_code)
    if isinstance(error, openai.APITimeoutError):
        return NoAnswer(TIMEOUT)
    if isinstance(error, openai.APIConnectionError):
        return NoAnswer("connection")
    return NoAnswer(f"broken off ({error.code})" if isinstance(error, openai.APIError) and error.code else "broken off")
