"""Templates: what their digests keep, what is refused, and those that come with the package."""

import pytest

from psychechat.policy import Tasks
from psychechat.tasks.template import TaskTemplate, digested, flat, known

TITLE = "Name this talk.\n\n<talk>\n{{history}}\n</talk>\nAnswer as JSON."


def test_digests_keep_no_word_but_the_closing_mark() -> None:
    template = digested("Our page", "title", TITLE)
    kept = template.model_dump_json()
    assert template.closes == "</talk>"
    assert "Name" not in kept
    assert "JSON" not in kept
    assert template.before.length == len("Name this talk. <talk>")


def test_white_space_and_composition_make_no_difference() -> None:
    spaced = TITLE.replace("\n\n", " \t\u3000\r\n").replace(" ", "\u00a0 ")
    assert digested("", "title", spaced) == digested("", "title", TITLE)
    decomposed, composed = "Re\u0301sume\u0301: {{history}}", "R\u00e9sum\u00e9: {{history}}"
    assert digested("", "summary", decomposed) == digested("", "summary", composed)
    assert flat("  a\n\nb\u2003c ") == "a b c"


def test_another_word_is_another_template() -> None:
    assert digested("", "title", TITLE.replace("this", "that")).before != digested("", "title", TITLE).before


@pytest.mark.parametrize(
    "text",
    [
        "Name this talk.",
        "Name this talk. {{history}} and {{history}}",
        "For {{USER_NAME}}, name this talk: {{history}}",
        "Name this talk: {{history}} and {{prompt}}",
    ],
)
def test_a_template_with_other_variables_or_without_the_history_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a task's template"):
        digested("", "title", text)
    with pytest.raises(ValueError, match="templates"):
        Tasks.model_validate({"templates": [{"kind": "title", "text": text}]})


def test_a_template_that_any_message_matches_is_refused() -> None:
    with pytest.raises(ValueError, match="instruction before the history"):
        digested("", "title", " {{history}} Name this talk.")


def test_settings_take_text_and_digests_and_can_leave_ours_out() -> None:
    written = {"kind": "title", "text": TITLE}
    kept = digested("", "title", TITLE).model_dump()
    own = Tasks.model_validate({"known": False, "templates": [written, kept]}).recognised
    assert own == (digested("", "title", TITLE),) * 2
    asking = Tasks.model_validate({"known": False, "templates": [{**written, "returns": {"title": "text"}}]}).recognised
    assert [template.returns for template in asking] == [{"title": "text"}]
    assert Tasks().recognised == known()


def test_the_known_templates_are_of_distinct_texts() -> None:
    edges = {(template.before.sha256, template.after.sha256) for template in known()}
    assert len(edges) == len(known()) >= 10
    assert all(template.before.length > 100 for template in known())
    assert {"title", "tags", "follow_up", "query"} <= {template.kind for template in known()}


def test_an_entry_without_an_instruction_is_none() -> None:
    empty = {"length": 0, "sha256": "e" * 64}
    with pytest.raises(ValueError, match="instruction"):
        TaskTemplate.model_validate({"kind": "title", "before": empty, "after": empty})
