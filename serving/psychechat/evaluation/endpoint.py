"""An OpenAI-compatible server, as the evaluation asks it: for a reply, for JSON, for what the classifier reads."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

Said = Sequence[tuple[Literal["system", "user", "assistant"], str]]
"""Messages: who, and what."""

SECONDS = 120.0
"""For an answer: more than a turn may take."""


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


class Endpoint:
    """One model of a server."""

    def __init__(self, client: AsyncOpenAI, model: str) -> None:
        self._client, self.model = client, model
        self._has_schemas = True

    @classmethod
    def at(cls, url: str, model: str, key: str | None, *, retries: int = 2) -> "Endpoint":
        return cls(AsyncOpenAI(base_url=url, api_key=key or "none", max_retries=retries, timeout=SECONDS), model)

    async def close(self) -> None:
        await self._client.close()

    async def reply(
        self, said: Said, *, session: str, locale: str | None = None, seed: int | None = None, known: bool = True
    ) -> Reply:
        """A streamed reply. `known`: whether `metadata` is sent, which some servers refuse. Raises NoAnswer."""
        metadata = {"session_id": session, **({"locale": locale} if locale else {})}
        answer, began = Reply(), time.perf_counter()
        try:
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
        except openai.OpenAIError as error:
            raise _no_answer(error) from None
        answer.seconds = time.perf_counter() - began
        if answer.finish is None:
            raise NoAnswer("broken off")
        return answer

    async def json(self, said: Said, name: str, schema: Mapping[str, Any], *, temperature: float, seed: int) -> str:
        """Text that should be JSON of this schema: structured output, until the server has once refused it.

        Raises NoAnswer.
        """
        for _ in range(2):
            shape: Any = (
                {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
                if self._has_schemas
                else openai.omit
            )
            try:
                answer = await self._client.chat.completions.create(
                    model=self.model,
                    messages=_messages(said),
                    temperature=temperature,
                    seed=seed,
                    response_format=shape,
                )
                return (answer.choices[0].message.content or "") if answer.choices else ""
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not self._has_schemas:
                    raise _no_answer(error) from None
                self._has_schemas = False
            except openai.OpenAIError as error:
                raise _no_answer(error) from None
        raise AssertionError("the second try has no schema to be refused")

    async def classify(self, text: str, answering: str | None = None) -> Mapping[str, Any]:
        """What the server's classifier reads in a text: `emotions`, `valence`, `groups`, `risk`.

        Of a reply to `answering` also `hurting`, where the server knows it. Raises NoAnswer.
        """
        body = {"input": text} | ({} if answering is None else {"answering": answering})
        try:
            answer: Any = await self._client.post("/classify", body=body, cast_to=object)
            found: Mapping[str, Any] = answer["data"][0]
        except openai.OpenAIError as error:
            raise _no_answer(error) from None
        except (KeyError, IndexError, TypeError):
            raise NoAnswer("no classifier") from None
        return found


def _messages(said: Said) -> Any:
    return [{"role": role, "content": text} for role, text in said]


def _take(answer: Reply, chunk: ChatCompletionChunk, began: float) -> None:
    found = (chunk.model_extra or {}).get("psychechat")
    answer.found = found if isinstance(found, Mapping) else answer.found
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
        return NoAnswer("timeout")
    if isinstance(error, openai.APIConnectionError):
        return NoAnswer("connection")
    return NoAnswer(f"broken off ({error.code})" if isinstance(error, openai.APIError) and error.code else "broken off")
