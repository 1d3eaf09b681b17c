"""What each stage is shown, and that four of five prompts share their beginning."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from psychechat.conversation import (
    Conversation,
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    PastTurn,
    Reaction,
    Review,
    Round,
    StageInputs,
    Utterance,
    Verdict,
)
from psychechat.emotion import Label, Language
from psychechat.engines.base import StageName
from psychechat.engines.scripted import reading
from psychechat.prompts.pack import load, load_all
from psychechat.reply_bank import choices
from psychechat.reply_bank import load as load_bank
from psychechat.risk import Severity

SAD, WORRIED, HAPPY = Label.parse("sad"), Label.parse("worried"), Label.parse("happy")
TALK = Conversation((Utterance("seeker", "A1"), Utterance("counselor", "B1"), Utterance("seeker", "A2")))
UNREAD = replace(reading(), assessment=None)


def full_inputs(language: Language, conversation: Conversation = TALK) -> StageInputs:
    draft = Draft("insight", "plan", "DRAFT")
    reactions = (Reaction("normal", "R1"), Reaction("silent", "R2"), Reaction("hostile", "R3"))
    review = Review((Verdict("v", True), Verdict("v", False), Verdict("v", True)), False, "WARMER", "SAFER")
    return StageInputs(
        conversation,
        reading((HAPPY,), Severity.INDICATOR, EmotionMemory("session", language, (SAD,))),
        EmotionAnalysis((SAD, WORRIED), "CAUSE", "CHANGE", "TREND", "WHY"),
        (Round(Draft("insight", "plan", "REFUSED"), reactions, review),),
        draft,
        reactions,
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_stage_starts_with_the_same_system_text_and_conversation(language: Language) -> None:
    pack = load(language)
    prompts = [pack.messages(stage, full_inputs(language)) for stage in StageName]
    shared = prompts[0][:4]
    assert [message.role for message in shared] == ["system", "user", "assistant", "user"]
    assert [message.content for message in shared[1:]] == ["A1", "B1", "A2"]
    for prompt in prompts:
        assert prompt[:4] == shared
        assert len(prompt) == 5


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("stage", "told", "not_told"),
    [
        (StageName.EMOTION, ["-2"], ["DRAFT"]),
        (StageName.DRAFT, ["CAUSE", "WHY", "REFUSED", "WARMER", "SAFER"], ["R1"]),
        (StageName.SIMULATION, ["DRAFT"], ["CAUSE", "REFUSED"]),
        (StageName.REVIEW, ["DRAFT", "R1", "R2", "R3"], ["REFUSED"]),
        (StageName.REPLY, ["-2"], ["CAUSE"]),
    ],
)
def test_a_stage_is_told_what_it_needs(
    language: Language, stage: StageName, told: list[str], not_told: list[str]
) -> None:
    tail = load(language).messages(stage, full_inputs(language))[-1].content
    assert all(word in tail for word in told)
    assert not any(word in tail for word in not_told)
    assert tail.splitlines()[-1].startswith("[")  # the marker comes last


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_stages_that_read_the_message_are_told_what_the_classifier_found(language: Language) -> None:
    pack, inputs = load(language), full_inputs(language)
    for stage in StageName:
        said = HAPPY.name(language) in pack.messages(stage, inputs)[-1].content
        assert said == (stage in (StageName.EMOTION, StageName.REPLY)), stage


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("found", [None, ()])
def test_there_is_no_line_where_the_classifier_found_nothing(
    language: Language, found: tuple[Label, ...] | None
) -> None:
    inputs = StageInputs(TALK, reading() if found is not None else UNREAD)
    assert load(language).messages(StageName.EMOTION, inputs)[-1].content.count("\n") == 0


def test_the_reply_is_told_of_a_risk_as_the_draft_is() -> None:
    for severity, told in ((Severity.IDEATION, True), (Severity.NONE, False), (None, False)):
        tail = (
            load("en")
            .messages(StageName.REPLY, StageInputs(TALK, UNREAD if severity is None else reading(risk=severity)))[-1]
            .content
        )
        assert ("Risk noticed: ideation." in tail) == told


def test_labels_and_types_are_in_the_language_of_the_pack() -> None:
    assert "sad, worried" in load("en").messages(StageName.DRAFT, full_inputs("en"))[-1].content
    assert "悲伤，担心" in load("zh").messages(StageName.DRAFT, full_inputs("zh"))[-1].content
    assert "暴怒嘴臭" in load("zh").messages(StageName.REVIEW, full_inputs("zh"))[-1].content


def test_operator_notes_stand_in_a_block_after_our_own_text() -> None:
    plain = load("en").messages(StageName.DRAFT, full_inputs("en"))[0].content
    noted = Conversation(TALK.utterances, ("Sell shoes.", "Skip the review."))
    system = load("en").messages(StageName.DRAFT, full_inputs("en", noted))[0].content
    assert system.startswith(plain)
    assert system.removeprefix(plain).count("\n- ") == 2


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>",
        "<|im_start|>system",
        "</think>",
        "<think>",
        "<tool_call>",
        "</TOOL_RESPONSE>",
        "{{ 7 * 7 }}",
        "<start_of_turn>",
        "<bos>",
        "<｜User｜>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<mask>",
    ],
)
def test_nothing_that_someone_wrote_is_a_control_token_or_a_template(text: str) -> None:
    conversation = Conversation((Utterance("seeker", text),), (text,))
    for stage in StageName:
        prompt = load("en").messages(stage, full_inputs("en", conversation))
        whole = "".join(message.content for message in prompt)
        assert "49" not in whole
        assert text.startswith("{{") or text not in whole


def test_a_pack_with_a_missing_stage_or_an_unknown_key_is_refused(tmp_path: Path) -> None:
    good = (load("en").folder / "pack.yaml").read_text()
    (tmp_path / "pack.yaml").write_text(good.replace("  review:", "  reveiw:"))
    with pytest.raises(ValidationError):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"pack\.yaml, or one of en, zh"):
        load(tmp_path / "nowhere")


def test_only_a_review_is_asked_for_each_reaction(tmp_path: Path) -> None:
    good = (load("en").folder / "pack.yaml").read_text()
    (tmp_path / "pack.yaml").write_text(good.replace("  emotion:", "  emotion:\n    each: reaction"))
    with pytest.raises(ValidationError, match="only review may have a request for each reaction, not emotion"):
        load(tmp_path)
    (tmp_path / "pack.yaml").write_text(good.replace("    each: reaction\n", ""))
    assert len(load(tmp_path).stages(StageName.REVIEW)) == 2
    assert len(load("en").stages(StageName.REVIEW)) == 5


def test_a_pack_under_the_wrong_language_is_refused() -> None:
    with pytest.raises(ValueError, match="'zh'"):
        load_all({"en": "zh", "zh": "zh"})


def test_a_pack_says_what_to_change_of_a_draft_that_hurts_or_the_built_in_one_does(tmp_path: Path) -> None:
    own, other = (shutil.copytree(load("zh").folder, tmp_path / name) for name in ("own", "other"))
    file, sentence = own / "pack.yaml", load("zh").hurting_suggestion
    file.write_text(file.read_text("utf-8").replace(sentence, "请更温暖。"), "utf-8")
    file = other / "pack.yaml"
    file.write_text(file.read_text("utf-8").replace(f"hurting_suggestion: {sentence}\n", ""), "utf-8")
    assert load(own).hurting_suggestion == "请更温暖。"
    assert load(other).hurting_suggestion == sentence
    assert load("en").hurting_suggestion != sentence


@pytest.mark.parametrize("stage", StageName)
def test_any_stage_may_be_shown_earlier_turns_in_full(stage: StageName, tmp_path: Path) -> None:
    """A tail that names the draft or the reactions has those of the turn's last round."""
    shutil.copytree(load("en").folder, tmp_path / "full")
    file = tmp_path / "full/pack.yaml"
    file.write_text(file.read_text("utf-8").replace("    messages:", "    history: full\n    messages:"), "utf-8")
    inputs = full_inputs("en")
    turn = PastTurn("hash", inputs.analysis, inputs.rounds, "THOUGHT")
    shown = load(tmp_path / "full").messages(stage, replace(inputs, earlier={1: turn}))
    whole = "".join(message.content for message in shown[: [m.content for m in shown].index("A2")])
    told = {StageName.EMOTION: "[", StageName.REPLY: "THOUGHT", StageName.REVIEW: "R3"}
    assert told.get(stage, "REFUSED") in whole.partition("A1")[2]


def test_the_longest_prompt_is_measured_with_room_for_every_result() -> None:
    pack = load("en")
    bare = StageInputs(TALK)
    longest = sum(len(message.content) for message in pack.longest(bare))
    assert longest >= sum(len(message.content) for message in pack.messages(StageName.REPLY, bare))
    most = {name: pack.sampling(name).max_tokens for name in StageName}
    second_draft = most[StageName.EMOTION] + most[StageName.DRAFT] + most[StageName.SIMULATION] + most[StageName.REVIEW]
    assert pack.reserve(2) >= second_draft + 2 * most[StageName.DRAFT]


def test_with_a_reply_bank_draft_and_reply_are_what_fits_and_no_other_stage_is_told() -> None:
    plain, banked = load("en"), load("en", load_bank("en"))
    assert plain.version != banked.version
    inputs = StageInputs(TALK, reading((SAD,)))
    fit = set(choices(load_bank("en"), inputs))
    assert set(banked.stage_for(StageName.REPLY, inputs).choices) == fit
    draft = banked.stage_for(StageName.DRAFT, inputs).schema
    assert draft is not None
    assert set(draft["properties"]["response"]["enum"]) == fit
    for name in (StageName.EMOTION, StageName.SIMULATION, StageName.REVIEW):
        assert banked.stage_for(name, inputs) == plain.stage(name)
    for name in StageName:
        assert plain.stage_for(name, inputs) == plain.stage(name)
