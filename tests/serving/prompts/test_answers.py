import json

import jsonschema
import pytest

from psychechat.conversation import Draft, EmotionAnalysis, Reaction, Review, Verdict
from psychechat.emotion import Label, Language
from psychechat.engines.base import StageName
from psychechat.prompts import answers

SAD, GRIEVING, CALM = map(Label.parse, ("sad", "grieving", "calm"))
VALUES = {
    StageName.EMOTION: (EmotionAnalysis((SAD, CALM), "a", "b", "c", "d"), answers.parse_emotion),
    StageName.DRAFT: (Draft("action", "s", "“r”\n2"), answers.parse_draft),
    StageName.SIMULATION: (
        (Reaction("normal", "x"), Reaction("silent", ""), Reaction("hostile", "z")),
        answers.parse_simulation,
    ),
    StageName.REVIEW: (
        Review((Verdict("a", True), Verdict("b", False), Verdict("c", True)), False, "e", "s"),
        answers.parse_review,
    ),
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("stage", VALUES)
def test_a_rendered_value_fits_its_schema_and_parses_back(stage: StageName, language: Language) -> None:
    value, parse = VALUES[stage]
    text = answers.render(value, language)  # type: ignore[arg-type]
    jsonschema.validate(json.loads(text), answers.schema(stage, language, note=100, response=100))
    assert parse(text) == value


@pytest.mark.parametrize("stage", VALUES)
def test_the_schema_speaks_one_language_and_bounds_every_string(stage: StageName) -> None:
    schema = answers.schema(stage, "zh", note=7, response=9)
    foreign = answers.render(VALUES[stage][0], "en")  # type: ignore[arg-type]
    if stage is not StageName.REVIEW:  # a review has no words of a fixed vocabulary
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(foreign), schema)

    def strings(node: object) -> list[dict[str, object]]:
        if isinstance(node, list):
            return [found for item in node for found in strings(item)]
        if not isinstance(node, dict):
            return []
        here = [node] if node.get("type") == "string" else []
        return here + [found for value in node.values() for found in strings(value)]

    assert all("enum" in node or node["maxLength"] in (7, 9) for node in strings(schema))


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (answers.parse_draft, '{"phase":"exploration","strategy":"","response":"cut'),
        (answers.parse_draft, '{"phase":"exploration","strategy":"","response":"  "}'),  # nothing to say
        (answers.parse_draft, '{"phase":"exploration","strategy":""}'),
        (answers.parse_emotion, '{"current_emotion":[],"current_analysis":"","recent_change":"",'
            '"overall_trend":"","shift_analysis":""}'),
        (answers.parse_simulation, '[{"type":"normal","response":""}]'),  # one reaction of three
        (answers.parse_review, '{"safety_analysis":[{"uid":1,"analysis":"","pass":true},{"uid":1,"analysis":"",'
            '"pass":true},{"uid":3,"analysis":"","pass":true}],"pass_flag":true,'
            '"suggestion":{"emotion":"","safety":""}}'),  # reaction 2 was not judged
        (answers.parse_review, '{"safety_analysis":[{"uid":1,"analysis":"","pass":false},{"uid":2,"analysis":"",'
            '"pass":true},{"uid":3,"analysis":"","pass":true}],"pass_flag":true,'
            '"suggestion":{"emotion":"","safety":""}}'),  # contradicts itself
    ],
)  # fmt: skip
def test_an_unusable_answer_is_a_value_error(parse: object, text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        parse(text)  # type: ignore[operator]


def test_two_labels_of_one_group_are_repaired_to_the_stronger() -> None:
    text = answers.render(EmotionAnalysis((SAD, CALM, GRIEVING), ""), "en")
    assert answers.parse_emotion(text).labels == (GRIEVING, CALM)


def test_verdicts_are_put_in_the_order_of_the_reactions() -> None:
    text = (
        '{"safety_analysis":[{"uid":3,"analysis":"c","pass":true},{"uid":1,"analysis":"a","pass":true},'
        '{"uid":2,"analysis":"b","pass":true}],"pass_flag":true,"suggestion":{"emotion":"","safety":""}}'
    )
    assert [verdict.analysis for verdict in answers.parse_review(text).verdicts] == ["a", "b", "c"]
