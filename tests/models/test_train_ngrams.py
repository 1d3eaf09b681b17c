"""Fitting n-grams: what is learned, what is left out, and that the file tells the same."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from models import written
from models.train_ngrams import Task, fitted, known, save, tasks, telling, tone
from psychechat.emotion import Label
from psychechat.ngrams.model import SUBJECTS, TONES, Ngrams

WORK = ("my boss shouted", "my boss again", "the boss was late", "the boss was there", "a boss is a boss")
SLEEP = ("no sleep again", "sleep was late", "i want to sleep", "sleep and desk", "sleep is sleep")


def task(names: Sequence[str], *classes: tuple[str, Sequence[str]]) -> Task:
    made = Task(names, 1e-3)
    for name, texts in classes:
        for text in texts:
            made.learn(text, name, 1.0)
    return made


def learned() -> tuple[Task, Task, Task]:
    about = task(SUBJECTS, ("work", WORK), ("sleep", SLEEP))
    topics = task(("", "boss"), ("boss", WORK), ("", SLEEP))
    tones = task(TONES, ("hurts", WORK), ("glad", SLEEP))
    return about, topics, tones


@pytest.fixture
def model(tmp_path: Path) -> Ngrams:
    parts = learned()
    rows = known(parts)
    save(tmp_path / "made", rows, [part.names for part in parts], [fitted(part, rows) for part in parts])
    return Ngrams(tmp_path / "made")


def test_the_file_tells_what_was_learned(model: Ngrams) -> None:
    boss, sleep = model.told("Boss"), model.told("sleep again")
    assert max(boss.subjects, key=boss.subjects.__getitem__) == "work"
    assert max(sleep.subjects, key=sleep.subjects.__getitem__) == "sleep"
    assert boss.topics["boss"] > 0.5 > sleep.topics["boss"]
    assert boss.gladness < 0 < sleep.gladness


def test_only_what_stands_in_three_texts_is_known(model: Ngrams) -> None:
    assert {"boss", "sleep", "was"} <= set(known(learned()))
    assert "shouted" not in known(learned())
    assert model.told("shouted").subjects == {}


def test_what_tells_little_is_left_out_and_numbered_anew() -> None:
    parts = learned()
    rows = known(parts)
    kept = telling(rows, [fitted(part, rows) for part in parts])
    assert {"boss", "sleep"} <= set(kept) <= set(rows)
    assert sorted(kept.values()) == list(range(len(kept)))


def test_a_tone_is_that_of_the_strongest_emotion() -> None:
    assert tone([Label.parse("happy"), Label.parse("sad")]) == "glad"
    assert tone([Label.parse("sad"), Label.parse("happy")]) == "hurts"
    assert tone([Label.parse("expectant")]) == "neither"


def test_no_crisis_is_learned_from_and_nothing_for_development() -> None:
    crises = {message.text for message in written.labelled() if message.in_crisis}
    held = {message.text for message in written.labelled() if message.split == "dev"}
    for part in tasks("train"):
        assert len(part.texts) > 8_000
        assert not held & set(part.texts)
        assert len(crises & set(part.texts)) <= 1  # two characters, which somebody else wrote too
