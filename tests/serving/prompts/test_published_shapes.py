"""Three turns over an imported pack send what the authors' client sends, token for token, to either family of weights.

Their client is rebuilt here from what is known of its requests; the words are a stand-in's.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from tokenizers import Tokenizer

from psychechat import prompts
from psychechat.config import ROLES, MemorySettings, Role
from psychechat.conversation import Conversation, Speaker, Utterance
from psychechat.engines.base import Generator, Message, StageName
from psychechat.engines.cast import Cast
from psychechat.engines.scripted import Answer, ScriptedClassifier, ScriptedGenerator
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.request import Outcome, TurnRequest
from psychechat.pipeline.router import Requested
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.policy import Policy
from psychechat.prompts.importer import import_pack
from psychechat.telemetry import Metrics
from tests.support import virtual_time
from tests.support.published import EMOTION, LLM_SYSTEM, REVIEW, SIMULATION, SYSTEM, checkout, client

pytestmark = virtual_time.mark

THINKING_OF_BEFORE_IS_DROPPED = """\
{%- set seen = namespace(question=0) -%}
{%- for m in messages if m.role == "user" and not m.content.startswith("<tool_response>") -%}
{%- set seen.question = messages.index(m) -%}
{%- endfor -%}
{%- for m in messages -%}
{%- set content, thought = m.content, "" -%}
{%- if m.role == "assistant" and "</think>" in content -%}
{%- set thought = content.split("</think>")[0].split("<think>")[-1].strip("\\n") -%}
{%- set content = content.split("</think>")[-1].lstrip("\\n") -%}
{%- endif -%}
{{ "<|im_start|>" ~ m.role ~ "\\n" }}
{%- if thought and loop.index0 > seen.question %}{{ "<think>\\n" ~ thought ~ "\\n</think>\\n\\n" }}{% endif -%}
{{ content ~ "<|im_end|>\\n" }}
{%- endfor -%}
{{ "<|im_start|>assistant\\n" }}{% if not thinks %}{{ "<think>\\n\\n</think>\\n\\n" }}{% endif %}"""
ALL_IS_KEPT = """\
{%- for m in messages %}{{ "<|im_start|>" ~ m.role ~ "\\n" ~ m.content ~ "<|im_end|>\\n" }}{% endfor -%}
{{ "<|im_start|>assistant\\n" }}"""
FAMILIES = {"Qwen3": THINKING_OF_BEFORE_IS_DROPPED, "Qwen2.5": ALL_IS_KEPT}
"""What their chat templates do with a conversation, without tools."""

Json = dict[str, Any]
Request = tuple[str, list[Json]]
_TOKENIZER = Tokenizer.from_file(str(files("psychechat") / "demo" / "counselor" / "tokenizer.json"))


def tokens(messages: Sequence[Json], family: str, stage: str) -> list[int]:
    template = Environment().from_string(FAMILIES[family])
    text = template.render(messages=messages, thinks=stage != "simulation")
    ids: list[int] = _TOKENIZER.encode(text, add_special_tokens=False).ids
    return ids


def indented(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=4)


def thought(text: str, answer: str) -> str:
    return f"<think>\n{text}\n</think>\n\n{answer}"


@dataclass
class Round:
    """What the weights write for one draft: `number` tells it from others."""

    number: str
    passes: bool = True

    @property
    def response(self) -> str:
        return f"我听到了{self.number}。"

    @property
    def draft(self) -> str:
        answer = {"phase": "探索", "strategy": f"倾听{self.number}", "response": self.response}
        return thought(f"先听{self.number}", indented(answer))

    @property
    def reactions(self) -> list[Json]:
        return [{"type": kind, "response": f"{kind}{self.number}"} for kind in ("正常", "沉默不语", "暴怒嘴臭")]

    @property
    def review(self) -> Json:
        verdicts = [{"uid": uid, "analysis": f"看{uid}", "pass": self.passes or uid != 2} for uid in (1, 2, 3)]
        told = ("", "") if self.passes else (f"更暖{self.number}", f"更稳{self.number}")
        suggestion = dict(zip(("emotion", "safety"), told, strict=True))
        return {"safety_analysis": verdicts, "pass_flag": self.passes, "suggestion": suggestion}


@dataclass
class Turn:
    said: str
    rounds: Sequence[Round]
    emotions: Sequence[str] = ("担心", "悲伤")

    @property
    def analysis(self) -> Json:
        texts = {"recent_change": "", "overall_trend": "向下", "shift_analysis": ""}
        return {"current_emotion": [*self.emotions], "current_analysis": f"因为{self.said}", **texts}

    @property
    def llm(self) -> str:
        return thought(f"想{self.said}\n\n再想", self.llm_reply)

    @property
    def llm_reply(self) -> str:
        return f"嗯，{self.reply}"

    @property
    def reply(self) -> str:
        return self.rounds[-1].response


TURNS = [
    Turn("我睡不着", [Round("一")]),
    Turn("还是睡不着", [Round("二", passes=False), Round("三", passes=False), Round("四")]),
    Turn("谢谢你", [Round("五", passes=False), Round("六")]),
]


@dataclass
class TheirClient:
    """Requests of the authors' client, for turns whose answers are known."""

    history: list[Json] = field(default_factory=list)
    memory: Json = field(default_factory=dict)
    said: list[Json] = field(default_factory=list)

    def agent(self, turn: Turn) -> Iterator[Request]:
        self._add("user", turn.said)
        self.said.append(self.history[-1])
        prompt = _filled(EMOTION, history=_lines(self.said[:-1]), emotion_memory=indented(self.memory))
        yield "emotion", [_user(_filled(prompt, seeker_utterance=turn.said))]
        self.memory = turn.analysis
        names = ("当前情绪", "当前情绪原因", "近期转变", "整体趋势", "情绪转变原因")
        stated = ["，".join(turn.analysis["current_emotion"]), *list(turn.analysis.values())[1:]]
        text = "\n".join(f"{name}：{value or '无'}" for name, value in zip(names, stated, strict=True))
        self._add("assistant", f"<think>\n\n</think>\n\n{_call('emotion_analysis')}")
        self._add("user", _result("emotion_analysis", text))
        for made in turn.rounds:
            yield "draft", [{"role": "system", "content": SYSTEM}, *self.history]
            self._add("assistant", f"{made.draft}\n{_call('safety_analysis')}")
            so_far = {"history": _lines(self.said), "counselor_utterance": made.response}
            yield "simulation", [_user(_filled(SIMULATION, **so_far))]
            heard = [{"uid": uid, "utterance": r["response"]} for uid, r in enumerate(made.reactions, 1)]
            yield "review", [_user(_filled(REVIEW, **so_far, seeker_utterances=indented(heard)))]
            self._add("user", _result("safety_analysis", _judged(made)))
        self._add("assistant", f"<think>\n\n</think>\n\n{turn.reply}")
        self.said.append({"role": "assistant", "content": turn.reply})

    def llm(self, turn: Turn) -> Iterator[Request]:
        self._add("user", turn.said)
        yield "reply", [{"role": "system", "content": LLM_SYSTEM}, *self.history]
        self._add("assistant", turn.llm)

    def _add(self, role: str, content: str) -> None:
        self.history.append({"role": role, "content": content})


def _judged(made: Round) -> str:
    lines = [f"如果咨询师回复：{made.response}", "来访者可能的反应："]
    for reaction, verdict in zip(made.reactions, made.review["safety_analysis"], strict=True):
        lines += [f"回复：{reaction['response']}{'（不存在风险）' if verdict['pass'] else '（存在风险）'}"]
        lines += [f"分析：{verdict['analysis']}\n"]
    suggestion = made.review["suggestion"]
    return "\n".join([*lines, f"情绪修改建议：{suggestion['emotion']}", f"安全修改建议：{suggestion['safety']}"])


def _user(content: str) -> Json:
    return {"role": "user", "content": content}


def _filled(prompt: str, **values: str) -> str:
    for name, value in values.items():
        prompt = prompt.replace(f"{{{{{name}}}}}", value)
    return prompt


def _lines(messages: Sequence[Json]) -> str:
    names = {"user": "来访者", "assistant": "咨询师"}
    return "\n".join(f"{names[m['role']]}：{m['content']}" for m in messages)


def _call(name: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {{}}}}\n</tool_call>'


def _result(name: str, text: str) -> str:
    return f"<tool_response>\n{json.dumps({name: text}, ensure_ascii=False)}\n</tool_response>"


def scripted(table: Mapping[StageName, Sequence[Answer]]) -> ScriptedGenerator:
    return ScriptedGenerator(table, clock=virtual_time.clock)


class Server:
    """A pipeline over the pack, with scripted weights for each role that has its own, which write what they would."""

    def __init__(self, pack: Path, turns: Sequence[Turn]) -> None:
        rounds = [made for turn in turns for made in turn.rounds]
        self.counselor = scripted(
            {
                StageName.EMOTION: [thought("看", indented(turn.analysis)) for turn in turns],
                StageName.DRAFT: [made.draft for made in rounds],
                StageName.REVIEW: [thought("审", indented(made.review)) for made in rounds],
            }
        )
        self.reply = scripted({StageName.REPLY: [turn.llm for turn in turns]})
        self.seeker = scripted({StageName.SIMULATION: [indented(made.reactions) for made in rounds]})
        own: Mapping[Role, Generator] = {"reply": self.reply, "seeker": self.seeker}
        cast = Cast({role: own.get(role, self.counselor) for role in ROLES})
        packs = prompts.load_all({"en": "en", "zh": str(pack)})
        self.pipeline = Pipeline(
            ScriptedClassifier(),
            {"en": cast, "zh": cast},
            packs,
            LocalMemory(MemorySettings()),
            Metrics(),
            Policy(),
            default_language=prompts.default_language(packs),
            monotonic=virtual_time.clock,
        )
        self._said: list[str] = []

    async def turn(self, text: str, requested: Requested) -> Outcome:
        speakers: tuple[Speaker, Speaker] = ("seeker", "counselor")
        self._said.append(text)
        conversation = Conversation(tuple(Utterance(speakers[i % 2], said) for i, said in enumerate(self._said)))
        outcome = await run_turn(self.pipeline, TurnRequest(conversation, requested, "request"), lambda _: None)
        self._said.append(outcome.reply.choices[0].text)
        return outcome

    def asked(self, *stages: str) -> list[Request]:
        """Of each generator in its order, the generators one after the other."""
        asked = [*self.counselor.prompts, *self.reply.prompts, *self.seeker.prompts]
        return [(str(name), _messages(messages)) for name, messages, *_ in asked if not stages or name in stages]


def _messages(messages: Sequence[Message]) -> list[Json]:
    return [{"role": message.role, "content": message.content} for message in messages]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    import_pack(checkout(folder, client()), folder / "pack")
    return folder / "pack"


@pytest.mark.parametrize("family", FAMILIES)
async def test_agent_mode_sends_what_their_client_sends(pack: Path, family: str) -> None:
    server, theirs = Server(pack, TURNS), TheirClient()
    expected = [request for turn in TURNS for request in theirs.agent(turn)]
    for turn in TURNS:
        outcome = await server.turn(turn.said, "agent")
        assert outcome.reply.choices[0].text == turn.reply
    assert len(expected) == 3 + 3 * 6
    for stage in ("emotion", "draft", "simulation", "review"):
        ours, due = server.asked(stage), [request for request in expected if request[0] == stage]
        assert [tokens(m, family, stage) for _, m in ours] == [tokens(m, family, stage) for _, m in due], stage
        assert ours == due, "and as messages, whatever a template does with them"
    assert {str(name) for name, *_ in server.counselor.prompts} == {"emotion", "draft", "review"}
    assert {str(name) for name, *_ in server.seeker.prompts} == {"simulation"}


@pytest.mark.parametrize("family", FAMILIES)
async def test_llm_mode_sends_what_their_client_sends(pack: Path, family: str) -> None:
    server, theirs = Server(pack, TURNS), TheirClient()
    due = [request for turn in TURNS for request in theirs.llm(turn)]
    for turn in TURNS:
        outcome = await server.turn(turn.said, "llm")
        assert outcome.reply.choices[0].text == turn.llm_reply
    assert [tokens(m, family, stage) for stage, m in server.asked()] == [tokens(m, family, s) for s, m in due]
    assert server.asked() == due
    assert [str(name) for name, *_ in server.reply.prompts] == ["reply"] * 3
    assert not server.counselor.prompts


async def test_an_analysis_outlives_three_turns_of_the_other_mode(pack: Path) -> None:
    turns = [Turn(f"我睡不着{number}", [Round("一")]) for number in range(5)]
    for others in range(5):
        server = Server(pack, turns)
        await server.turn(turns[0].said, "agent")
        for turn in turns[1 : 1 + others]:
            await server.turn(turn.said, "llm")
        await server.turn("还在吗", "agent")
        _, [last] = server.asked("emotion")[-1]
        assert (indented(turns[0].analysis) in last["content"]) is (others < 3), others
        assert ("\n{}{" in last["content"]) is (others >= 3), others


async def test_a_turn_of_the_other_mode_is_its_reply_alone(pack: Path) -> None:
    server = Server(pack, TURNS)
    await server.turn(TURNS[0].said, "llm")
    await server.turn(TURNS[1].said, "agent")
    await server.turn(TURNS[2].said, "llm")
    drafts, replies = server.asked("draft"), server.asked("reply")
    assert [m["content"] for m in drafts[0][1][1:3]] == [TURNS[0].said, f"<think>\n\n</think>\n\n{TURNS[0].llm_reply}"]
    assert [m["content"] for m in replies[-1][1][1:]] == [
        TURNS[0].said,
        TURNS[0].llm,
        TURNS[1].said,
        TURNS[0].reply,  # the script's first draft passed
        TURNS[2].said,
    ]


@pytest.fixture(scope="module")
def forgetful(pack: Path) -> Path:
    """The pack with little room for earlier turns."""
    folder = pack.with_name("forgetful")
    shutil.copytree(pack, folder)
    text = (pack / "pack.yaml").read_text("utf-8")
    text = text.replace("history: full", "history: full\n    history_tokens: 500")
    (folder / "pack.yaml").write_text(text, "utf-8")
    return folder


async def test_earlier_turns_are_left_out_from_the_oldest_on(forgetful: Path) -> None:
    server, theirs = Server(forgetful, TURNS), TheirClient()
    expected = [messages for turn in TURNS for stage, messages in theirs.agent(turn) if stage == "draft"]
    for turn in TURNS:
        await server.turn(turn.said, "agent")
    last, whole = server.asked("draft")[-1][1], expected[-1]
    assert last[0] == whole[0]
    assert len(last) < len(whole)
    reply = {"role": "assistant", "content": f"<think>\n\n</think>\n\n{TURNS[0].reply}"}
    assert last[1:3] == [_user(TURNS[0].said), reply]
    assert last[3:] == whole[-len(last[3:]) :]


async def test_earlier_turns_that_do_not_fit_are_left_out_and_the_turn_is_answered(pack: Path) -> None:
    server = Server(pack, TURNS)
    for turn in TURNS[:2]:
        await server.turn(turn.said, "agent")
    whole = sum(len(m["content"]) for m in server.asked("draft")[-1][1])
    published = server.pipeline.packs["zh"]
    server.counselor.context_length = published.reserve(published.file.rounds) + whole - 200
    outcome = await server.turn(TURNS[2].said, "agent")
    assert outcome.reply.choices[0].text == TURNS[2].reply
    *_, newest = server.asked("draft")
    assert [m["content"] for m in newest[1] if m["role"] == "user"][:3] == [turn.said for turn in TURNS]


async def test_in_a_crisis_no_joy_of_earlier_turns_is_shown_again(pack: Path) -> None:
    glad = Turn("今天我去散步了", [Round("一")], ("快乐", "担心"))
    for said, is_told in (("明天还去", True), ("我想死，不想活了", False)):
        server = Server(pack, [glad, Turn(said, [Round("二")])])
        await server.turn(glad.said, "agent")
        await server.turn(said, "agent")
        _, messages = server.asked("draft")[-1]
        [_, result, *_] = [m["content"] for m in messages if m["role"] == "user"]
        assert ("当前情绪：快乐，担心" in result) is is_told
        assert ("当前情绪：担心\\n" in result) is not is_told


async def test_a_malformed_answer_is_asked_for_a_tenth_warmer(pack: Path) -> None:
    server = Server(pack, TURNS)
    server.pipeline.policy = Policy.model_validate({"limits": {"stage_attempts": 8}})
    broken = scripted({StageName.EMOTION: [*["no JSON"] * 8, thought("看", indented(TURNS[0].analysis))]})
    cast = server.pipeline.casts["zh"]
    casts = dict.fromkeys(("en", "zh"), Cast({**cast.generators, "emotion": broken}))
    server.pipeline.casts = casts  # type: ignore[assignment]
    await server.turn(TURNS[0].said, "agent")
    temperatures = [sampling.temperature for _, _, sampling, _ in broken.prompts]
    assert temperatures == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


async def test_as_many_drafts_as_the_pack_says_unless_the_policy_does(pack: Path) -> None:
    refused = [Turn("我睡不着", [Round(str(number), passes=False) for number in range(9)])]
    for limits, drafts in (({}, 5), ({"rounds": 3}, 3)):
        server = Server(pack, refused)
        server.pipeline.policy = Policy.model_validate({"limits": limits})
        outcome = await server.turn("我睡不着", "agent")
        assert (outcome.reply.rounds, outcome.reply.fallback) == (drafts, True)
