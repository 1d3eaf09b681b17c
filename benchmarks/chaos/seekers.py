"""Seekers who talk all the while, through OpenAI's client as it comes, and what became of each of their turns.

Each asks, waits for the whole answer, and asks something new. The client tries a request again twice by itself; a
stream that breaks off it only reports, and then the seeker asks again, as often, as whoever uses a chat window does.
Which words make a whole reply is known beforehand, so a part of one cannot pass for it.
"""

import random
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx2  # what the openai client speaks with
import openai

from tests.support.messages import ALARMING, ORDINARY

MODELS = ("psychechat", "psychechat-llm", "psychechat-agent")
CRISES, STREAMED = 0.2, 0.7
AGAIN = 2
PROBE_SECONDS = 1.0

Outcome = Literal["whole", "part", "failed", "cut", "lost"]
"""`part`: what the client took for the whole, and is not. `failed`: an error that says what it is. `cut`: a stream that
broke off each time. `lost`: no answer at all."""


@dataclass(frozen=True)
class Ended:
    """One turn. `sent` is when, by the monotonic clock."""

    sent: float
    seconds: float
    crisis: bool
    outcome: Outcome
    requests: int
    """That were sent for it: 1 where nothing went wrong."""
    cuts: int
    """How many of its streams broke off, and the client said so."""
    troubles: tuple[str, ...] = ()
    """What its requests got in the place of an answer: a status, or the kind of an error."""
    safe_template: bool = False

    @property
    def undisturbed(self) -> bool:
        return self.outcome == "whole" and self.requests == 1 and not self.safe_template


class Fronts(Protocol):
    """What a load balancer chooses from for each request."""

    def ready(self) -> Sequence[httpx2.URL]: ...


class ProbedFronts:
    """The nodes' HAProxies: those that answered the last probe, or all where none did."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = [httpx2.URL(url) for url in urls]
        self.up = list(self.urls)

    def ready(self) -> Sequence[httpx2.URL]:
        return self.up or self.urls

    def watch(self, stop: threading.Event) -> None:
        with httpx2.Client(timeout=PROBE_SECONDS) as client:
            while not stop.wait(PROBE_SECONDS):
                self.up = [url for url in self.urls if _healthy(client, url)]


def _healthy(client: httpx2.Client, url: httpx2.URL) -> bool:
    """By the probe that KubeRay adds."""
    try:
        return client.get(url.join("/-/healthz")).status_code == 200
    except httpx2.TransportError:
        return False


class Balanced(httpx2.BaseTransport):
    """Each request goes to one of the fronts, as a Kubernetes service or an ingress controller has it."""

    def __init__(self, fronts: Fronts, chance: random.Random) -> None:
        self._fronts, self._chance, self._inner = fronts, chance, httpx2.HTTPTransport()
        self.sent = 0
        self.troubles: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent += 1
        fronts = self._fronts.ready()
        if not fronts:
            self.troubles.append("no front")
            raise httpx2.ConnectError("no front is ready", request=request)
        front = self._chance.choice(fronts)
        request.url = request.url.copy_with(host=front.host, port=front.port)
        request.headers["host"] = front.netloc.decode()
        try:
            response = self._inner.handle_request(request)
        except httpx2.TransportError as error:
            self.troubles.append(type(error).__name__)
            raise
        if response.status_code != 200:
            self.troubles.append(str(response.status_code))
        return response

    def close(self) -> None:
        self._inner.close()


class Seeker:
    def __init__(self, fronts: Fronts, whole: Collection[str], chance: random.Random, key: str = "none") -> None:
        """`whole`: every reply there can be."""
        self._chance, self._whole = chance, whole
        self._transport = Balanced(fronts, chance)
        self._client = openai.OpenAI(
            base_url="http://front/v1",
            api_key=key,
            timeout=100,
            max_retries=AGAIN,
            http_client=httpx2.Client(transport=self._transport),
        )

    def turn(self) -> Ended:
        chance = self._chance
        crisis = chance.random() < CRISES
        # In the language of what the engines write: the guard lets no English reply go to who writes Chinese.
        text = chance.choice((ALARMING if crisis else ORDINARY)["en"])
        # No two conversations are one session.
        body: dict[str, Any] = {
            "model": chance.choice(MODELS),
            "messages": [{"role": "user", "content": f"{text} ({chance.randrange(10**9)})"}],
        }
        ask = self._streamed if chance.random() < STREAMED else self._at_once
        front, sent, cuts = self._transport, time.monotonic(), 0
        front.sent, front.troubles = 0, []

        def ended(outcome: Outcome, *, safe_template: bool = False) -> Ended:
            seconds = time.monotonic() - sent
            return Ended(sent, seconds, crisis, outcome, front.sent, cuts, tuple(front.troubles), safe_template)

        while True:
            try:
                words, safe_template = ask(body)
            except openai.APIStatusError:
                return ended("failed")
            except (openai.APIConnectionError, httpx2.TransportError):
                return ended("lost")
            except _Cut as cut:
                cuts += 1
                front.troubles.append(f"stream: {type(cut.__cause__).__name__}")
                if cuts > AGAIN:
                    return ended("cut")
            else:
                if words not in self._whole:
                    # The words are scripted, so that they can be told.
                    front.troubles.append(f"part: {'stream' if ask == self._streamed else 'whole'}: {words!r}")
                    return ended("part")
                return ended("whole", safe_template=safe_template)

    def _at_once(self, body: dict[str, Any]) -> tuple[str, bool]:
        answer = self._client.chat.completions.create(**body)
        return answer.choices[0].message.content or "", _fallback(answer)

    def _streamed(self, body: dict[str, Any]) -> tuple[str, bool]:
        """Raises _Cut where the client reports that a stream that had begun broke off, or that it ended in an error."""
        stream = self._client.chat.completions.create(**body, stream=True)
        words, chunk = "", None
        try:
            for chunk in stream:
                words += "".join(choice.delta.content or "" for choice in chunk.choices)
        except (openai.APIError, httpx2.TransportError) as error:
            raise _Cut from error
        return words, _fallback(chunk)

    def close(self) -> None:
        self._client.close()


class _Cut(Exception):
    pass


def _fallback(answer: Any) -> bool:
    found = getattr(answer, "psychechat", None)
    return bool(found and found["review"]["fallback"])


class Talk:
    """What became of the turns so far, and how many seekers are still at it."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []


@contextmanager
def probed(urls: Sequence[str]) -> Iterator[ProbedFronts]:
    """Fronts that are probed all the while."""
    fronts, stop = ProbedFronts(urls), threading.Event()
    watch = threading.Thread(target=fronts.watch, args=(stop,))
    watch.start()
    try:
        yield fronts
    finally:
        stop.set()
        watch.join()


@contextmanager
def talking(fronts: Fronts, seekers: int, whole: Collection[str], key: str = "none") -> Iterator[Talk]:
    """`key`: of the API. On leaving, every turn under way is waited for."""
    talk, stop = Talk(), threading.Event()
    failures: list[BaseException] = []

    def talk_on(number: int) -> None:
        seeker = Seeker(fronts, whole, random.Random(number), key)
        try:
            while not stop.is_set():
                talk.ended.append(seeker.turn())
                # Not all at once when a front comes back.
                stop.wait(0.2)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            with suppress(httpx2.HTTPError):
                seeker.close()

    threads = [threading.Thread(target=talk_on, args=(number,)) for number in range(seekers)]
    for thread in threads:
        thread.start()
    try:
        yield talk
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
