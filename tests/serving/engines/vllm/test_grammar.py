import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
import xgrammar

from psychechat import prompts
from psychechat.conversation import Draft, EmotionAnalysis, Reaction, Review, Verdict
from psychechat.emotion import Label
from psychechat.engines.base import StageName
from psychechat.engines.vllm.grammar import forced_text, grammar, one_of
from psychechat.prompts import answers

SCHEMA = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 4}, "minItems": 1, "maxItems": 2}


@pytest.fixture(scope="module")
def compiler() -> xgrammar.GrammarCompiler:
    # 256 single bytes for a vocabulary, and the cache on, as in the engine.
    return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo([bytes([n]) for n in range(256)]), cache_enabled=True)


def accepts(compiler: xgrammar.GrammarCompiler, schema: Mapping[str, Any], text: str | bytes, **form: Any) -> bool:
    compiled = compiler.compile_grammar(grammar(schema, **form))
    matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
    return bool(matcher.accept_string(text) and matcher.is_terminated())


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        pytest.param('["a","b"]', True, id="plain"),
        pytest.param('["你好吗？","😀😀😀😀"]', True, id="bounds count characters, not bytes"),
        pytest.param('["abcde"]', False, id="too long"),
        pytest.param('[""]', False, id="too short"),
        pytest.param('["a\tb"]', False, id="a bare tab"),
        pytest.param('["a\x01"]', False, id="a bare control character"),
        pytest.param('["a\nb"]', False, id="a bare line break"),
        pytest.param('["a", "b"]', False, id="white space after a comma"),
        pytest.param('[ "a"]', False, id="white space after a bracket"),
    ],
)
def test_accepts_what_a_json_parser_takes(compiler: xgrammar.GrammarCompiler, text: str, accepted: bool) -> None:
    assert accepts(compiler, SCHEMA, text) is accepted
    if accepted:
        json.loads(text)


@pytest.mark.parametrize(
    "character", [b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xc0\x80", b"\xf4\x90\x80\x80"], ids=lambda c: str(c.hex())
)
def test_bytes_that_are_no_character_are_refused(compiler: xgrammar.GrammarCompiler, character: bytes) -> None:
    """Surrogates, an overlong zero, beyond Unicode: each would decode to several characters, past the bound."""
    assert not accepts(compiler, SCHEMA, b'["' + character + b'"]')
    assert accepts(compiler, SCHEMA, '["\ud7ff\ue000"]'), "their neighbours are characters"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_schema_of_the_packs_compiles(compiler: xgrammar.GrammarCompiler, language: str) -> None:
    for stage in StageName:
        for constrained in prompts.load(language).stages(stage):
            if constrained.schema is not None:
                compiler.compile_grammar(grammar(constrained.schema))


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('{"safety_analysis":[{"uid":2,"analysis":"a","pass":true}]}', True),
        ('{"safety_analysis":[{"uid":2,"analysis":"a","pass":false}],"pass_flag":false,'
            '"suggestion":{"emotion":"e","safety":"s"}}', True),
        ('{"safety_analysis":[{"uid":1,"analysis":"a","pass":true}]}', False),
        ('{"safety_analysis":[{"uid":2,"analysis":"a","pass":false}]}', False),
        ('{"safety_analysis":[{"uid":2,"analysis":"a","pass":true}],"pass_flag":false,'
            '"suggestion":{"emotion":"e","safety":"s"}}', False),
        ('{"safety_analysis":[{"uid":2,"analysis":"a","pass":true},{"uid":2,"analysis":"a","pass":true}]}', False),
    ],
)  # fmt: skip
def test_the_review_of_one_reaction_is_its_verdict_and_what_follows(
    compiler: xgrammar.GrammarCompiler, text: str, accepted: bool
) -> None:
    schema = prompts.load("en").stage(StageName.REVIEW, reaction=2).schema
    assert schema is not None
    assert accepts(compiler, schema, text) is accepted
    if accepted:
        assert len(answers.parse_lone_review(text, 2).verdicts) == 1


ANSWERS: Mapping[StageName, EmotionAnalysis | Draft | tuple[Reaction, ...] | Review] = {
    StageName.EMOTION: EmotionAnalysis((Label.parse("sad"), Label.parse("worried")), "因为", "", "向下", ""),
    StageName.DRAFT: Draft("insight", "倾听", "我在听。"),
    StageName.SIMULATION: (Reaction("normal", "嗯"), Reaction("silent", "……"), Reaction("hostile", "哼")),
    StageName.REVIEW: Review((Verdict("a", True), Verdict("b", False), Verdict("c", True)), False, "暖", "稳"),
}


@pytest.mark.parametrize("stage", ANSWERS)
def test_indented_json_is_as_pythons_and_nothing_else(compiler: xgrammar.GrammarCompiler, stage: StageName) -> None:
    schema = prompts.load("zh").stage(stage).schema
    assert schema is not None
    compact, written = (answers.render(ANSWERS[stage], "zh", indent) for indent in (None, 4))
    assert written == json.dumps(json.loads(compact), ensure_ascii=False, indent=4)
    assert accepts(compiler, schema, written, indent=4)
    for other in (compact, answers.render(ANSWERS[stage], "zh", 2), f"{written}\n", written.replace(": ", ":  ", 1)):
        assert not accepts(compiler, schema, other, indent=4)
    assert not accepts(compiler, schema, written)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('\n\n["a"]', True),
        ('["a"]', False),
        ('\n["a"]', False),
        ('\n\n\n["a"]', False),
    ],
)
def test_a_blank_line_comes_first_where_the_weights_write_one(
    compiler: xgrammar.GrammarCompiler, text: str, accepted: bool
) -> None:
    assert accepts(compiler, SCHEMA, text, after="\n\n") is accepted


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        pytest.param('<think>\n想 a < b, </b>, <</think>\n\n["a"]', True, id="almost tags"),
        pytest.param('</think>\n\n["a"]', True, id="nothing was thought"),
        pytest.param('{"a": [1]}\n</think>\n\n["a"]', True, id="JSON in it"),
        pytest.param('</</t</think</think>\n\n["a"]', True, id="begun again and again"),
        pytest.param("still thinking", False, id="no end"),
        pytest.param('["a"]', False, id="no thinking"),
        pytest.param('a</think>["a"]', False, id="no blank line"),
        pytest.param('a</think>b</think>\n\n["a"]', False, id="the first end is the end"),
        pytest.param('a</think>\n\n{"a": 1}', False, id="another answer"),
    ],
)
def test_thinking_that_ends_by_text_is_followed_by_the_answer(
    compiler: xgrammar.GrammarCompiler, text: str, accepted: bool
) -> None:
    assert accepts(compiler, SCHEMA, text, after="\n\n", thinks_in_text=True) is accepted


def test_long_thinking_costs_a_token_no_more_than_a_short_one() -> None:
    """A mask for each token, so that thought after thought the engine's time for one stays what it was."""
    tokens = [bytes([n]) for n in range(256)] + [f"w{n}".encode() for n in range(4000)]
    compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(tokens), cache_enabled=True)
    matcher = xgrammar.GrammarMatcher(
        compiler.compile_grammar(grammar(SCHEMA, after="\n\n", thinks_in_text=True)), terminate_without_stop_token=True
    )
    mask = xgrammar.allocate_token_bitmask(1, len(tokens))

    def seconds(count: int) -> float:
        started = time.process_time()
        for _ in range(count):
            matcher.fill_next_token_bitmask(mask)
            assert matcher.accept_token(256 + 7)
        return time.process_time() - started

    seconds(100)  # what is compiled on the way
    first, _, last = seconds(300), seconds(3000), seconds(300)
    assert last < 10 * first + 0.1


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("Go on.", True),
        ("\n\n你好，吗？", True),
        ("Go on", False),
        ("Go on. And?", False),
        ("\n\n\nGo on.", False),
    ],
)
def test_an_answer_is_one_of_the_texts(compiler: xgrammar.GrammarCompiler, text: str, accepted: bool) -> None:
    for thinks in (False, True):
        compiled = compiler.compile_grammar(one_of(("Go on.", "你好，吗？"), thinks_in_text=thinks))
        matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
        written = f"I < you</think>{text}" if thinks else text
        assert bool(matcher.accept_string(written) and matcher.is_terminated()) is accepted


def test_what_is_forced_ends_with_a_whole_character(compiler: xgrammar.GrammarCompiler) -> None:
    """好 and 如 begin with the same byte. It ended the engine."""
    matcher = xgrammar.GrammarMatcher(compiler.compile_grammar(one_of(("你好。", "你如何？", "你奴。"))))
    assert matcher.accept_string("\n\n")
    with pytest.raises(UnicodeDecodeError):  # xgrammar's own: without it `forced_text` is not needed
        matcher.find_jump_forward_string()
    assert forced_text(matcher) == "你"
    assert matcher.accept_string("你好")
    assert forced_text(matcher) == "。"
