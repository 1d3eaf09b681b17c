"""What locust plays: seekers who talk with the server, one message after the other, through OpenAI's client.

Each conversation is in one language and one mode, one to five turns long, and grows by the server's own replies: of
longer ones the demo's counselor, which is tiny, loses the thread, and its replies do not come. More seekers come bit by
bit, stay, become four times as many for a while, and go back to what they were.

A turn that is refused for load is no failure, unless it was a crisis; the seeker waits as long as the answer says and
asks again. Everything else but a whole reply is one. Runs in an environment of its own, with locust, openai and nothing
of ours but `tests.support.messages` and the times of the spike.
"""

import os
import random
import time
from typing import Any

import openai
from locust import LoadTestShape, User, between, events, task

from benchmarks.soak import SPIKE
from tests.support.messages import ALARMING, LANGUAGES, ORDINARY

SECONDS, SEEKERS = float(os.environ["SOAK_SECONDS"]), int(os.environ["SOAK_SEEKERS"])
MODELS = {"psychechat": 6, "psychechat-llm": 2, "psychechat-agent": 2}
CRISES, STREAMED, MORE = 0.05, 0.7, 4


class Profile(LoadTestShape):
    """Ramp, soak, spike, soak."""

    def tick(self) -> tuple[int, float] | None:
        passed = self.get_run_time() / SECONDS
        if passed >= 1:
            return None
        if passed < 0.1:
            return max(1, round(SEEKERS * passed / 0.1)), SEEKERS
        return (MORE if SPIKE[0] <= passed < SPIKE[1] else 1) * SEEKERS, SEEKERS


class Broken(Exception):
    """An answer that is not whole, or a crisis that was refused."""


def kind(error: Exception) -> str:
    """Without its message, which might quote what was said."""
    if isinstance(error, Broken):
        return str(error)
    status, code = getattr(error, "status_code", ""), getattr(error, "code", "")
    return f"{type(error).__name__} {status} {code}".strip()


class Seeker(User):
    wait_time = between(0.5, 3.0)

    def on_start(self) -> None:
        self.client = openai.OpenAI(base_url=f"{self.host}/v1", api_key="none", max_retries=0, timeout=120)
        self.begin()

    def begin(self) -> None:
        self.language = random.choice(LANGUAGES)
        self.model = random.choices(list(MODELS), list(MODELS.values()))[0]
        self.left = random.choices((1, 2, 3, 5), (4, 3, 2, 1))[0]
        self.conversation: list[Any] = []

    @task
    def turn(self) -> None:
        crisis = random.random() < CRISES
        text = random.choice((ALARMING if crisis else ORDINARY)[self.language])
        messages = [*self.conversation, {"role": "user", "content": text}]
        started = time.perf_counter()
        try:
            reply = self.streamed(messages, started) if random.random() < STREAMED else self.whole(messages)
        except openai.RateLimitError as error:
            if crisis:
                self.ended("turn", started, Broken("a crisis was refused"))
            else:
                self.ended("refused", started)
            time.sleep(float(error.response.headers["retry-after"]))
            return
        except Exception as error:
            self.ended("turn", started, Broken(kind(error)))
            self.begin()
            return
        self.ended("turn", started)
        self.conversation = [*messages, {"role": "assistant", "content": reply}]
        self.left -= 1
        if not self.left:
            self.begin()

    def whole(self, messages: list[Any]) -> str:
        answer = self.client.chat.completions.create(model=self.model, messages=messages)
        return self.checked(answer.choices[0].message.content, answer.choices[0].finish_reason, answer)

    def streamed(self, messages: list[Any], started: float) -> str:
        words, finish, chunk = "", None, None
        for chunk in self.client.chat.completions.create(model=self.model, messages=messages, stream=True):
            for choice in chunk.choices:
                if choice.delta.content and not words:
                    self.ended("TTFT", started)
                words += choice.delta.content or ""
                finish = choice.finish_reason or finish
        return self.checked(words, finish, chunk)

    def checked(self, words: str | None, finish: str | None, last: Any) -> str:
        """Raises Broken for what is no whole reply."""
        if not words or finish not in ("stop", "length", "content_filter"):
            raise Broken("no whole reply")
        if not getattr(last, "psychechat", None):
            raise Broken("nothing about how the turn was routed")
        return words

    def ended(self, kind: str, started: float, broken: Broken | None = None) -> None:
        events.request.fire(
            request_type=kind,
            name=self.model,
            response_time=1000 * (time.perf_counter() - started),
            response_length=0,
            exception=broken,
        )
