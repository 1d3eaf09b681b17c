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
from psychechat.prompts.importer import SETTINGS, PromptsNotFound, import_pack
from psychechat.prompts.pack import Pack, default_language, load
from tests.support.published import EMOTION, LLM_SYSTEM, REVIEW, SIMULATION, SYSTEM, checkout, client

CALL = '<think>\n\n</think>\n\n<tool_call>\n{"name": "emotion_analysis", "arguments": {}}\n</tool_call>'
SAFETY_CALL = '<tool_call>\n{"name": "safety_analysis", "arguments": {}}\n</tool_call>'


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    import_pack(checkout(tmp_path, client()), tmp_path / "pack")
    return load(tmp_path / "pack")


SAD, WORRIED, HAPPY = Label.parse("sad"), Label.parse("worried"), Label.parse("happy")
REACTIONS = (Reaction("normal", "r1"), Reaction("silent", "r2\nr2"), Reaction("hostile", 'r"3'))


def refused(number: int) -> Round:
    verdicts = (Verdict("fine", True), Verdict("cold", False), Verdict("worse", False))
    review = Review(verdicts, False, f"warmer {number}", f"safer {number}")
    return Round(Draft("insight", f"plan {number}", f"draft {number}", f"thought {number}"), REACTIONS, review)


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
        answer = {"phase": "领悟", "strategy": f"plan {number}", "response": f"draft {number}"}
        indented = json.dumps(answer, ensure_ascii=False, indent=4)
        return Message("assistant", f"<think>\nthought {number}\n</think>\n\n{indented}\n{SAFETY_CALL}")

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


def test_the_pack_says_how_the_weights_write_and_is_asked(pack: Pack) -> None:
    draft = pack.stage(StageName.DRAFT)
    assert (draft.indent, draft.blank_line) == (4, True)
    assert pack.file.rounds == 5
    temperatures, sampling = [], pack.sampling(StageName.EMOTION)
    for _ in range(9):
        temperatures.append(sampling.temperature)
        sampling = pack.warmer(sampling)
    assert temperatures == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.7]
    assert (sampling.top_p, sampling.top_k, sampling.repetition_penalty) == (None, None, None), "the checkpoint's"
    assert default_language({"en": load("en"), "zh": pack}) == "zh"
    assert default_language({"en": load("en"), "zh": load("zh")}) == "en"


def test_a_turn_of_the_most_rounds_and_all_that_is_shown_again_fit_the_context_that_goes_with_it(pack: Pack) -> None:
    context = min(engine["engine_args"]["max_model_len"] for engine in SETTINGS["engines"].values())
    again = pack.file.stages[StageName.DRAFT].history_tokens
    assert pack.reserve(pack.file.rounds) + again < context - 8_000, "8,000 for the system text and the conversation"


def test_the_licence_comes_along(tmp_path: Path) -> None:
    root = checkout(tmp_path, client())
    assert import_pack(root, tmp_path / "bare") == []
    (root / "LICENSE").write_text("Their licence.")
    (root / "NOTICE.txt").write_text("Their notice.")
    assert import_pack(root, tmp_path / "pack") == ["LICENSE", "NOTICE.txt"]
    assert (tmp_path / "pack" / "LICENSE").read_text() == "Their licence."


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
