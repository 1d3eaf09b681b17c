"""Ours, the authors' form, and files that are neither."""

import json
from pathlib import Path

import pytest
import yaml

from psychechat.evaluation import cards

THEIRS = {
    "id": 7,
    "topic": "家庭",
    "role_card": {
        "性别": "女",
        "年龄": 30,
        "职业": "会计",
        "人格": {"开放性": "高", "尽责性": "高", "外向性": "低", "宜人性": "中", "神经质": "高"},
        "性格": ["细心", "胆小"],
        "语言风格": "短句",
        "爱好": "散步",
        "问题": "睡不好",
        "目标": [{"gid": 1, "goal": "睡着"}, {"gid": 2, "goal": "说出来"}],
        "内心独白": "我只是累了。",
        "初始情绪": ["担心", "伤感"],
        "事件触发情绪": [{"eid": 1, "event": "加班到十点", "emotion": ["烦躁"]}],
    },
}


def test_forty_of_ours_each_its_own() -> None:
    deck = cards.read(["en", "zh"]).cards
    assert [card.language for card in deck] == ["en"] * 20 + ["zh"] * 20
    for card in deck:
        assert len(card.goals) == 2
        assert 5 <= len(card.events) <= 7
        assert card.valence < 0
    said = [text for card in deck for text in (card.monologue, card.problem, *(event.event for event in card.events))]
    assert len(set(said)) == len(said)


def test_the_authors_form_is_read(tmp_path: Path) -> None:
    file = tmp_path / "role_cards_test.json"
    file.write_text(json.dumps([THEIRS]), "utf-8")
    (card,) = cards.read([str(file)]).cards
    assert (card.id, card.age, card.character, card.language) == ("7", "30", "细心，胆小", "zh")
    assert card.goals == ("睡着", "说出来")
    assert card.valence == -2
    assert card.events[0].emotions == ("烦躁",)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"feels": ["calm", "happy"]}, "feels"),  # of one group
        ({"feels": ["gloomy-canary"]}, "feels"),
        ({"goals": []}, "goals"),
        ({"events": [{"event": "x"}]}, "events.0.emotions"),
        ({"canary": "x"}, "canary"),
    ],
)
def test_what_is_no_card_is_told_by_its_place(change: dict[str, object], where: str, tmp_path: Path) -> None:
    one = cards.read(["en"]).cards[0].model_dump(mode="json") | change
    file = tmp_path / "cards.yaml"
    file.write_text(yaml.safe_dump([one]), "utf-8")
    with pytest.raises(cards.BadCards, match=f"card 1: {where} ") as told:
        cards.read([str(file)])
    assert "gloomy" not in str(told.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", "- [", "- 3", '- {role_card: {"目标": [1]}}'])
def test_what_is_no_list_of_cards_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cards.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(cards.BadCards):
        cards.read([str(file)])


def test_a_card_that_is_edited_has_another_digest() -> None:
    one, other = cards.read(["en"]).cards[:2]
    assert one.digest == cards.read(["en"]).cards[0].digest
    edited = one.model_copy(update={"monologue": one.monologue + " "})
    assert len({one.digest, edited.digest, other.digest}) == 3


def test_one_id_is_one_card(tmp_path: Path) -> None:
    with pytest.raises(cards.BadCards, match="twice"):
        cards.read(["en", "en"])
