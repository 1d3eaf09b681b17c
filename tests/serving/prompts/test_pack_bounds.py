"""Analyses, reactions and verdicts that run on to each of their bounds still end within their stage's tokens."""

from collections.abc import Iterator
from typing import Any

import pytest

from psychechat import prompts
from psychechat.emotion import Language
from psychechat.engines.base import StageName

_TOKENS_A_CHARACTER = {"en": 1, "zh": 2}
_TOKENS_A_KEY = 6
"""Key, quotes and punctuation around one string; a grammar forces them."""


def _strings(schema: Any, definitions: dict[str, Any]) -> Iterator[int]:
    """`maxLength` of every string of the longest answer."""
    if "$ref" in schema:
        yield from _strings(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    elif "anyOf" in schema:
        yield from max((list(_strings(one, definitions)) for one in schema["anyOf"]), key=sum)
    elif schema.get("type") == "array":
        yield from [*_strings(schema["items"], definitions)] * schema.get("maxItems", 1)
    elif "properties" in schema:
        for field in schema["properties"].values():
            yield from _strings(field, definitions)
    elif "maxLength" in schema:
        yield schema["maxLength"]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", [StageName.EMOTION, StageName.SIMULATION, StageName.REVIEW])
def test_the_longest_answer_fits(language: Language, name: StageName) -> None:
    pack = prompts.load(language)
    for stage in pack.stages(name):
        assert stage.schema is not None
        strings = list(_strings(stage.schema, stage.schema.get("$defs", {})))
        assert strings
        tokens = sum(strings) * _TOKENS_A_CHARACTER[language] + _TOKENS_A_KEY * len(strings)
        assert tokens <= pack.sampling(name).max_tokens
