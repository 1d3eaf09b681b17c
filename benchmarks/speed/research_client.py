"""PsychēChat's stages as a research client asks for them, one HTTP call after the other, on anybody's OpenAI server.

Written from a description of the authors' client: each stage's instructions stand before the history, in a message that
no other stage shares; the answer is free text; JSON is cut out of it by a regular expression; what does not parse is
asked again, warmer. Their loops have no bound: here a stage is asked three times. A refused draft is written again with
the review's suggestions, in at most `ROUNDS` rounds, as on our server.

`forced` gives it the lengths that our server's stages had for the same turn. Each call then writes exactly that many
tokens, of whatever kind, and nothing is parsed: the same work on both sides.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from benchmarks.speed import wire
from benchmarks.speed.conversations import Messages, Turn
from benchmarks.speed.wire import Answer
from psychechat.emotion import Language, label_names

TRIES, ROUNDS = 3, 2
WARMER = 0.7
BOUND = 480
STAGES = ("emotion", "draft", "simulation", "review")

Lengths = Mapping[str, Sequence[int]]
"""Tokens of each call of a stage, in order."""

INSTRUCTIONS: Mapping[Language, Mapping[str, str]] = yaml.safe_load(
    Path(__file__).with_name("instructions.yaml").read_text("utf-8")
)

_JSON = re.compile(r"\{.*\}|\[.*\]", re.DOTALL)
_KEYS: Mapping[str, frozenset[str]] = {
    "emotion": frozenset({"current_emotion", "current_analysis"}),
    "draft": frozenset({"phase", "strategy", "response"}),
    "review": frozenset({"safety_analysis", "pass_flag", "suggestion"}),
}


def parse(stage: str, text: str) -> Any:
    """The JSON in an answer. Raises ValueError if there is none, or not with what the stage needs."""
    found = _JSON.search(text.rpartition("</think>")[2])
    if found is None:
        raise ValueError("no JSON")
    value = json.loads(found[0])
    if stage == "simulation":
        if not isinstance(value, list) or not value or not all(isinstance(r, dict) and "response" in r for r in value):
            raise ValueError("no list of reactions")
    elif not isinstance(value, dict) or not _KEYS[stage] <= value.keys():
        raise ValueError("keys are missing")
    if stage == "review" and not (isinstance(value["pass_flag"], bool) and isinstance(value["suggestion"], dict)):
        raise ValueError("no verdict")
    return value


@dataclass
class Client:
    """One research client. Its memory is what its own emotion stage said of each conversation's last turn."""

    http: aiohttp.ClientSession
    url: str
    model: str
    failures: Counter[str] = field(default_factory=Counter)
    """Answers that did not parse, by stage; each but the last of a stage is asked again."""
    gave_up: int = 0
    memory: dict[str, str] = field(default_factory=dict)

    async def turn(self, session: str, turn: Turn, forced: Lengths | None = None) -> Answer:
        """The four stages, and more rounds if the draft is refused. The answer's only delta is the reply."""
        run = _Run(self, turn, {stage: list(lengths) for stage, lengths in (forced or {}).items()}, forced is not None)
        started = time.perf_counter()
        try:
            reply = await run.stages(self.memory.get(session, "{}"))
        except _Failed as failure:
            run.answer.error = str(failure)
        else:
            self.memory[session] = run.emotion
            run.answer.text = reply
            run.answer.deltas = [time.perf_counter() - started]
        run.answer.seconds = time.perf_counter() - started
        return run.answer


class _Failed(Exception):
    """A stage that gave nothing that could be used."""


@dataclass
class _Run:
    client: Client
    turn: Turn
    lengths: dict[str, list[int]]
    is_forced: bool
    answer: Answer = field(default_factory=Answer)
    emotion: str = "{}"

    async def stages(self, memory: str) -> str:
        newest, history = self.turn.newest, _transcript(self.turn)
        self.emotion = await self._text("emotion", [_user(f"{self._told('emotion')}\n\n{history}\n\n{memory}")])
        drafting: Messages = [{"role": "system", "content": self._told("draft")}, *self.turn.messages()]
        drafting[-1] = _user(f"{newest}\n\n{self.emotion}")
        reply = ""
        for _ in range(max(1, len(self.lengths.get("draft", ()))) if self.is_forced else ROUNDS):
            draft = await self._value("draft", drafting)
            reply = draft["response"]
            shown = f"{history}\n\n{reply}"
            reactions = await self._value("simulation", [_user(f"{self._told('simulation')}\n\n{shown}")])
            heard = json.dumps(reactions, ensure_ascii=False, indent=4)
            review = await self._value("review", [_user(f"{self._told('review')}\n\n{shown}\n\n{heard}")])
            if review["pass_flag"]:
                break
            suggestion = json.dumps(review["suggestion"], ensure_ascii=False)
            drafting += [{"role": "assistant", "content": reply}, _user(suggestion)]
        return str(reply)

    def _told(self, stage: str) -> str:
        language = self.turn.language
        return INSTRUCTIONS[language][stage].format(labels=", ".join(label_names(language)))

    async def _value(self, stage: str, messages: Messages) -> Any:
        text = await self._text(stage, messages)
        if not self.is_forced:
            return parse(stage, text)
        # Of forced text only the length is meant. Whether there is another round was recorded too.
        made: Mapping[str, Any] = {
            "draft": {"response": text},
            "simulation": [{"type": "normal", "response": text}],
            "review": {"pass_flag": not self.lengths["draft"], "suggestion": {"emotion": text, "safety": ""}},
        }
        return made[stage]

    async def _text(self, stage: str, messages: Messages) -> str:
        """What the model said, once it parses; forced: once."""
        body: dict[str, Any] = {"model": self.client.model, "messages": messages, "temperature": 0.0}
        # The stages do not think: the demo's weights were not taught to before JSON.
        body["chat_template_kwargs"] = {"enable_thinking": False}
        body["max_tokens"] = BOUND
        if self.is_forced:
            planned = self.lengths.get(stage) or [1]
            count = planned.pop(0)
            body |= {"max_tokens": count, "min_tokens": count, "ignore_eos": True}
        for attempt in range(1 if self.is_forced else TRIES):
            said = await self._ask(body | ({"temperature": WARMER} if attempt else {}))
            if self.is_forced:
                return said
            try:
                parse(stage, said)
            except ValueError:
                self.client.failures[stage] += 1
                continue
            return said
        self.client.gave_up += 1
        raise _Failed(f"{stage} did not parse")

    async def _ask(self, body: Mapping[str, Any]) -> str:
        wrong, found = await wire.post(self.client.http, f"{self.client.url}/v1/chat/completions", body)
        if wrong:
            raise _Failed(wrong)
        usage = found["usage"]
        self.answer.prompt_tokens += usage["prompt_tokens"]
        self.answer.completion_tokens += usage["completion_tokens"]
        self.answer.cached_tokens += (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return found["choices"][0]["message"]["content"] or ""


def _transcript(turn: Turn) -> str:
    names = {
        "en": {"seeker": "Seeker", "counselor": "Counselor"},
        "zh": {"seeker": "来访者", "counselor": "咨询师"},
    }[turn.language]
    return "\n".join(f"{names[u.speaker]}: {u.text}" for u in turn.conversation.utterances)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
