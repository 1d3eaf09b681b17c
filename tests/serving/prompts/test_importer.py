"""The importer on a stand-in checkout: the shape of the authors' client, and words of our own in it."""

import json
from pathlib import Path

import pytest

from psychechat.conversation import (
    Conversation,
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    Reaction,
    Review,
    Round,
    StageInputs,
    Utterance,
    Verdict,
)
from psychechat.emotion import Label
from psychechat.engines.base import Message, StageName
from psychechat.engines.scripted import reading
from psychechat.prompts.importer import PromptsNotFound, import_pack
from psychechat.prompts.pack import Pack, load

# Each holds what Jinja, a trim or a careless replace would spoil: braces, tags, escapes, white space at its ends.
EMOTION = (
    "\n# Feelings {{not_ours}} {% if x %} {# no #}\nso far:\n{{history}}\n"
    'now: {{{seeker_utterance}}}\n{{emotion_memory}}{"a": {}}  '
)
SYSTEM = "Listen. Tools: <tool_call>\n{\"name\": <n>}\n</tool_call> and {{history}}, which stays. '''quoted''' {"
SIMULATION = "Reply as the seeker.\n{{history}}\n==\n{{counselor_utterance}}\n[{\"type\": 1}, {'%'}]\n\n"
REVIEW = "Judge.\n{{history}}\n{{counselor_utterance}}\n{{seeker_utterances}}\n{%raw%} {{ 7 * 7 }} \\d"
LLM_SYSTEM = "Think first, in <think>\n</think>. {{{{ }}}} \t"

CALL = '<think>\n\n</think>\n\n<tool_call>\n{"name": "emotion_analysis", "arguments": {}}\n</tool_call>'
SAFETY_CALL = '<tool_call>\n{"name": "safety_analysis", "arguments": {}}\n</tool_call>'


def client(agent: str = "Ours_Agent", llm: str = "Ours_LLM", **replaced: str) -> str:
    """The source of a client. It must never run: importing it fails."""
    literal = {
        "emotion_prompt": repr(EMOTION),
        "system_counselor": repr(SYSTEM),
        "seeker_prompt": repr(SIMULATION),
        "safety_prompt": repr(REVIEW),
        "llm_system": repr(LLM_SYSTEM),
    } | replaced
    return f"""
raise SystemExit("executed")
PATTERN = "\\d"  # an escape that newer Pythons warn of

class Someone_Else:
    def __call__(self, messages):
        system_counselor = "another method's"

class {llm}():
    def __init__(self, model_name=''):
        system_counselor = "not in __call__"
    def __call__(self, messages, counselor={{}}, temperature=0.0) -> str:
        system_counselor = {literal["llm_system"]}
        return [{{'role': 'system', 'content': system_counselor}}]

class {agent}():
    def __call__(self, messages, counselor={{}}, temperature=0.0) -> str:
        emotion_prompt = {literal["emotion_prompt"]}
        user_emotion = emotion_prompt.replace('{{{{history}}}}', '')
        while True:
            system_counselor = {literal["system_counselor"]}
            seeker_prompt = {literal["seeker_prompt"]}
            safety_prompt = {literal["safety_prompt"]}
"""


def checkout(root: Path, source: str, file: str = "evaluation/model_response.py") -> Path:
    path = root / "checkout" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, "utf-8")
    return root / "checkout"


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    import_pack(checkout(tmp_path, client()), tmp_path / "pack")
    return load(tmp_path / "pack")


SAD, WORRIED, HAPPY = Label.parse("sad"), Label.parse("worried"), Label.parse("happy")
REACTIONS = (Reaction("normal", "r1"), Reaction("silent", "r2\nr2"), Reaction("hostile", 'r"3'))


def refused(number: int) -> Round:
    verdicts = (Verdict("fine", True), Verdict("cold", False), Verdict("worse", False))
    review = Review(verdicts, False, f"warmer {number}", f"safer {number}")
    return Round(Draft("insight", f"plan {number}", f"draft {number}"), REACTIONS, review)


def inputs(*, rounds: tuple[Round, ...] = (), notes: tuple[str, ...] = ()) -> StageInputs:
    said = (Utterance("seeker", "你好"), Utterance("counselor", "请说"), Utterance("seeker", "又{{history}}了"))
    return StageInputs(
        Conversation(said, notes),
        # The label is for our own packs: none of the published prompts has a place for it.
        reading((HAPPY,), memory=EmotionMemory("session", "zh", (SAD,), EmotionAnalysis((SAD,), "原因", "变", "", ""))),
        EmotionAnalysis((WORRIED, SAD), '因"为', "", "向下", "缘由"),
        rounds,
        Draft("insight", "plan", "the draft"),
        REACTIONS,
    )


HISTORY = [
    Message("user", "你好"),
    Message("assistant", "<think>\n\n</think>\n\n请说"),
    Message("user", "又{{history}}了"),
]
RESULT = '当前情绪：担心，悲伤\n当前情绪原因：因"为\n近期转变：无\n整体趋势：向下\n情绪转变原因：缘由'


def tool_response(name: str, text: str) -> Message:
    return Message("user", f"<tool_response>\n{json.dumps({name: text}, ensure_ascii=False)}\n</tool_response>")


def test_emotion_is_one_message_whose_history_ends_before_the_newest_utterance(pack: Pack) -> None:
    memory = {
        "current_emotion": ["悲伤"],
        "current_analysis": "原因",
        "recent_change": "变",
        "overall_trend": "",
        "shift_analysis": "",
    }
    expected = (
        EMOTION.replace("{{history}}", "来访者：你好\n咨询师：请说")
        .replace("{{emotion_memory}}", json.dumps(memory, ensure_ascii=False, indent=4))
        .replace("{{seeker_utterance}}", "又{{history}}了")
    )
    assert pack.messages(StageName.EMOTION, inputs()) == [Message("user", expected)]

    first = StageInputs(Conversation((Utterance("seeker", "你好"),)))
    alone = (
        EMOTION.replace("{{history}}", "").replace("{{seeker_utterance}}", "你好").replace("{{emotion_memory}}", "{}")
    )
    assert pack.messages(StageName.EMOTION, first) == [Message("user", alone)]


def test_the_draft_follows_the_emotion_analysis_as_a_tool_that_answered(pack: Pack) -> None:
    assert pack.messages(StageName.DRAFT, inputs()) == [
        Message("system", SYSTEM),
        *HISTORY,
        Message("assistant", CALL),
        tool_response("emotion_analysis", RESULT),
    ]


def test_every_refused_draft_is_followed_by_its_own_review(pack: Pack) -> None:
    def draft(number: int) -> Message:
        answer = f'{{"phase":"领悟","strategy":"plan {number}","response":"draft {number}"}}'
        return Message("assistant", f"<think>\n\n</think>\n\n{answer}\n{SAFETY_CALL}")

    def review(number: int) -> Message:
        text = (
            f"如果咨询师回复：draft {number}\n来访者可能的反应：\n"
            "回复：r1（不存在风险）\n分析：fine\n\n"
            "回复：r2\nr2（存在风险）\n分析：cold\n\n"
            '回复：r"3（存在风险）\n分析：worse\n\n'
            f"情绪修改建议：warmer {number}\n安全修改建议：safer {number}"
        )
        return tool_response("safety_analysis", text)

    messages = pack.messages(StageName.DRAFT, inputs(rounds=(refused(1), refused(2))))
    assert messages[6:] == [draft(1), review(1), draft(2), review(2)]


def test_simulation_and_review_see_the_newest_utterance_in_the_history(pack: Pack) -> None:
    whole = "来访者：你好\n咨询师：请说\n来访者：又[]了"  # the seeker's braces are put back last
    simulation = SIMULATION.replace("{{history}}", whole).replace("{{counselor_utterance}}", "the draft")
    expected = simulation.replace("[]了", "{{history}}了")
    assert pack.messages(StageName.SIMULATION, inputs()) == [Message("user", expected)]

    listed = json.dumps([{"uid": i, "utterance": r.response} for i, r in enumerate(REACTIONS, 1)], indent=4)
    review = REVIEW.replace("{{history}}", whole).replace("{{counselor_utterance}}", "the draft")
    expected = review.replace("{{seeker_utterances}}", listed).replace("[]了", "{{history}}了")
    assert pack.messages(StageName.REVIEW, inputs()) == [Message("user", expected)]


def test_llm_mode_is_its_system_text_and_the_visible_conversation(pack: Pack) -> None:
    assert pack.messages(StageName.REPLY, inputs()) == [
        Message("system", LLM_SYSTEM),
        Message("user", "你好"),
        Message("assistant", "请说"),
        Message("user", "又{{history}}了"),
    ]


def test_operator_notes_follow_the_system_text(pack: Pack) -> None:
    for stage, text in ((StageName.DRAFT, SYSTEM), (StageName.REPLY, LLM_SYSTEM)):
        system = pack.messages(stage, inputs(notes=("{{ 7 }}", "b")))[0].content
        assert system.startswith(f"{text}\n\n运营方")
        assert system.endswith("：\n- {{ 7 }}\n- b")


def test_stages_think_and_answer_in_chinese_json_as_the_weights_do(pack: Pack) -> None:
    thinks = {name: pack.stage(name).thinks for name in StageName}
    assert thinks == {"emotion": True, "draft": True, "simulation": False, "review": True, "reply": True}
    assert [name for name in StageName if pack.role(name) == "seeker"] == ["simulation"]
    assert "暴怒嘴臭" in json.dumps(pack.stage(StageName.SIMULATION).schema, ensure_ascii=False)


@pytest.mark.parametrize(
    "file", ["evaluation/model_response.py", "evaluation/models.py", "evaluation/models/psychechat/client.py"]
)
def test_both_generations_of_names_and_places_make_the_same_pack(tmp_path: Path, pack: Pack, file: str) -> None:
    source = client("PsycheChat_Agent_Mode", "PsycheChat_LLM_Mode")
    import_pack(checkout(tmp_path / "later", source, file), tmp_path / "later-pack")
    later = load(tmp_path / "later-pack")
    for stage in StageName:
        assert later.messages(stage, inputs(rounds=(refused(1),))) == pack.messages(stage, inputs(rounds=(refused(1),)))


SECRET = "words of theirs {{history}}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (client(agent="Nobody"), "no class Ours_Agent or PsycheChat_Agent_Mode in evaluation/model_response.py"),
        (client(llm="Nobody"), "no class Ours_LLM or PsycheChat_LLM_Mode in evaluation/model_response.py"),
        (client(safety_prompt=f"f'{SECRET}'"), "an f-string to 'safety_prompt'"),
        (client(seeker_prompt=f"'{SECRET}' + tail"), "no plain string to 'seeker_prompt'"),
        (client(system_counselor=f"'{SECRET}'\n            system_counselor += ''"), "'system_counselor' 2 times"),
        (client().replace("safety_prompt =", "verdict_prompt ="), "'safety_prompt' 0 times"),
        (client(emotion_prompt=f"'{SECRET}'"), "no {{seeker_utterance}} and no {{emotion_memory}}"),
        (f"class Ours_Agent:\n    '''{SECRET}'''\nclass Ours_LLM: pass", "no method Ours_Agent.__call__"),
        (f"def '{SECRET}'", r"evaluation/model_response.py \(line 1\) is not Python"),
    ],
    ids=[
        "no agent",
        "no llm",
        "f-string",
        "sum",
        "assigned twice",
        "not assigned",
        "placeholders",
        "no call",
        "syntax",
    ],
)
def test_what_is_not_found_is_named_and_nothing_is_written(tmp_path: Path, source: str, message: str) -> None:
    root = checkout(tmp_path, source)
    with pytest.raises(PromptsNotFound, match=message) as error:
        import_pack(root, tmp_path / "pack")
    assert "words of theirs" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["checkout"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="name another folder"):
        import_pack(checkout(tmp_path, client()), tmp_path / "pack")
    assert [path.name for path in (tmp_path / "pack").iterdir()] == ["mine.txt"]
