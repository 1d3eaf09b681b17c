import json
from collections.abc import Mapping
from typing import Any

import pytest
import xgrammar

from psychechat import prompts
from psychechat.engines.base import StageName
from psychechat.engines.vllm.grammar import grammar
from psychechat.prompts import answers

SCHEMA = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 4}, "minItems": 1, "maxItems": 2}


@pytest.fixture(scope="module")
def compiler() -> xgrammar.GrammarCompiler:
    # 256 single bytes for a vocabulary, and the cache on, as in the engine.
    return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo([bytes([n]) for n in range(256)]), cache_enabled=True)


def accepts(compiler: xgrammar.GrammarCompiler, schema: Mapping[str, Any], text: str | bytes) -> bool:
    compiled = compiler.compile_grammar(grammar(schema))
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
