"""What was written to learn from: as much as was meant, of many kinds and words, and nothing that hurts is taught."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from models import written
from psychechat.conversation import Act
from psychechat.emotion import LABELS, MAX_LABELS
from psychechat.help.subjects import Subject
from psychechat.risk import CRISIS, Severity

FRAME_WORDS, FRAME_HAN = 4, 6
MOST = 0.02
"""Of the replies: what one frame may be in."""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_lines_of_every_severity(language: str) -> None:
    lines = [line for line in written.lines() if line.language == language]
    assert len(lines) >= 2500
    assert len({line.writer for line in lines}) >= 3
    counts = Counter(line.severity for line in lines)
    assert min(counts[severity] for severity in Severity) >= 80
    texts = Counter((line.text, line.question) for line in lines)
    assert sum(count - 1 for count in texts.values()) <= len(lines) / 1000  # "hey" is said by more than one
    others = [line for line in lines if line.group != "talks"]
    assert 0.07 < sum(line.split == "dev" for line in others) / len(others) < 0.13
    assert {line.split for line in lines if line.group == "talks"} == {"dev"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_messages_of_every_feeling(language: str) -> None:
    """Of each label as many as can be learned from, and several at once."""
    told = [message for message in written.messages() if message.language == language]
    assert len(told) >= 2000
    counts = Counter(label for message in told for label in message.emotions)
    assert min(counts[label] for label in LABELS) >= 20
    assert sum(len(message.emotions) > 1 for message in told) >= len(told) / 10
    for message in told:
        assert len({label.group for label in message.emotions}) == len(message.emotions) <= MAX_LABELS


@pytest.mark.parametrize("language", ["en", "zh"])
def test_messages_of_which_all_is_told(language: str) -> None:
    """Glad ones and sad ones, most without danger, each once."""
    told = [message for message in written.labelled() if message.language == language]
    assert len(told) >= 2000
    assert len({message.text for message in told}) == len(told)
    harmless = [message for message in told if message.severity < CRISIS]
    assert 0.6 < len(harmless) / len(told) < 0.9
    glad = sum(message.emotions[0].valence > 0 for message in harmless)
    assert len(harmless) / 4 < glad < len(harmless) * 3 / 4
    assert {message.subject for message in told} == {None, *get_args(Subject)}
    for message in told:
        assert len({label.group for label in message.emotions}) == len(message.emotions) <= MAX_LABELS


def test_a_malformed_message_is_named_without_its_text(tmp_path: Path) -> None:
    folder = tmp_path / "emotions"
    folder.mkdir()
    (folder / "en-x.tsv").write_text("calm\tgood morning\njoyous\tsecret words\n")
    with pytest.raises(ValueError, match=r"en-x\.tsv, line 2") as failed:
        written.messages(tmp_path)
    assert "secret" not in str(failed.value)


def test_a_marked_sentence_is_found_in_its_text() -> None:
    marked = [line for line in written.lines() if line.marked]
    assert len(marked) >= 500
    for line in marked:
        assert line.marked is not None
        assert not set("{}") & set(line.text)
        assert line.text[slice(*line.marked)].strip()
        assert len(line.text) > line.marked[1] - line.marked[0]


def frames(reply: str, language: str) -> Iterator[str]:
    """What a sentence may be a copy of: four words in a row, or six characters."""
    if language == "en":
        words = re.findall(r"[a-z']+", reply.casefold())
        yield from {" ".join(words[i : i + FRAME_WORDS]) for i in range(len(words) - FRAME_WORDS + 1)}
    else:
        for part in re.findall(r"[\u4e00-\u9fff]+", reply):
            yield from {part[i : i + FRAME_HAN] for i in range(len(part) - FRAME_HAN + 1)}


@pytest.mark.parametrize(("language", "least"), [("en", 1500), ("zh", 300)])
def test_exchanges_are_of_many_kinds(language: str, least: int) -> None:
    told = [exchange for exchange in written.exchanges() if exchange.language == language]
    assert len(told) >= least
    assert len({exchange.topic for exchange in told}) >= 60
    assert {label for exchange in told for label in exchange.emotions} == set(LABELS)
    assert sum(exchange.risk >= CRISIS for exchange in told) >= 0.12 * len(told)
    assert sum(bool(exchange.twin) for exchange in told) >= least / 3
    assert all(exchange.reply.count("?") + exchange.reply.count("？") <= 1 for exchange in told)
    counts = Counter(frame for exchange in told for frame in frames(exchange.reply, language))
    assert counts.most_common(1)[0][1] <= MOST * len(told)


def test_a_reply_rarely_gives_a_noun_back() -> None:
    """Of the replies that are taught: a small model that learns to quote quotes what it has not understood."""
    taught = [exchange for exchange in written.exchanges() if exchange.language == "en" and exchange.is_plain]
    assert len(taught) >= 1000
    assert sum(exchange.quotes for exchange in taught) <= len(taught) / 3


@pytest.mark.parametrize(("language", "least"), [("en", 12), ("zh", 30)])
def test_each_situation_is_spoken_of_in_many_lines(language: str, least: int) -> None:
    told = [line for line in written.situation_lines() if line.language == language]
    counts = Counter(line.situation for line in told)
    assert set(counts) == {situation.situation for situation in written.situations()}
    assert min(counts.values()) >= least
    assert len({line.text for line in told}) >= 0.995 * len(told)


def test_a_malformed_line_is_named_without_its_text(tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "a.tsv").write_text("nowhere\ten\tsecret words\n")
    with pytest.raises(ValueError, match=r"a\.tsv, line 1") as told:
        written.situation_lines(tmp_path)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_questions_about_who_answers_and_what_sounds_like_them(language: str) -> None:
    told = Counter(question.asks for question in written.questions() if question.language == language)
    assert told["identity"] >= 250
    assert told["person"] >= 100
    assert told["neither"] >= 300


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_messages_do_and_what_shares_words_with_it(language: str) -> None:
    told = Counter(line.act for line in written.acts() if line.language == language)
    assert set(told) == {None, *get_args(Act)}
    assert min(told.values()) >= 200
    assert told[None] >= 600


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_messages_are_about(language: str) -> None:
    told = Counter(line.subject for line in written.subjects() if line.language == language)
    assert set(told) == {None, *get_args(Subject)}
    assert min(told.values()) >= 100
    assert {x.subject for x in written.situations()} == {None, *get_args(Subject)}


@pytest.mark.parametrize(
    ("folder", "lines", "message", "read"),
    [
        ("seekers", "none\tplain\thello\nnone\ta secret\n", "not severity, kind, text", written.lines),
        ("seekers", "none\tplain\thello\nworse\tplain\ta secret\n", "not severity, kind, text", written.lines),
        ("acts", "greeting\thello\nasks\ta secret\n", "not a dialogue act or telling, and text", written.acts),
        ("subjects", "work\thello\nanything\ta secret\n", "not a subject or other, and text", written.subjects),
        ("emotions", "joy/mid\thello\nsecret\n", "not labels joined by", written.messages),
    ],
)
def test_a_malformed_row_is_named_without_its_text(
    tmp_path: Path, folder: str, lines: str, message: str, read: Callable[[Path], object]
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "en-x.tsv").write_text(lines)
    with pytest.raises(ValueError, match=rf"^en-x\.tsv, line [12]: {message}") as told:
        read(tmp_path)
    assert "secret" not in str(told.value)


def test_a_malformed_question_is_named_without_its_text(tmp_path: Path) -> None:
    folder = tmp_path / "asks"
    folder.mkdir()
    (folder / "en-x.tsv").write_text("identity\twho are you\nsomebody\ta secret\n")
    with pytest.raises(ValueError, match=r"^en-x\.tsv, line 2: not what it asks, and text$"):
        written.questions(tmp_path)


def test_conversations_to_choose_a_rule_by() -> None:
    told = Counter((talk.language, talk.kind) for talk in written.talks())
    assert len(told) == 10
    assert min(told.values()) >= 16
    for talk in written.talks():
        said = talk.conversation.utterances
        assert (said[0].speaker, said[-1].speaker) == ("seeker", "seeker")
        seekers = [
            danger for danger, utterance in zip(talk.in_danger, said, strict=True) if utterance.speaker == "seeker"
        ]
        grave = sum(seekers)
        assert (grave == 1) if talk.kind == "sudden" else (grave > 0) == (talk.kind == "slow_burn")


def test_nothing_of_them_is_learned_from() -> None:
    said = {said.text for talk in written.talks() for said in talk.conversation.utterances if len(said.text) > 20}
    assert not said & {line.text for line in written.lines()}
    assert not said & {line.text for line in (*written.acts(), *written.subjects())}


@pytest.mark.parametrize("wrong", ["# odd\n> a secret", "# calm\n* a secret", "# calm"])
def test_a_malformed_conversation_is_named_without_its_text(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "conversations").mkdir()
    (tmp_path / "conversations" / "en-x.txt").write_text(f"# calm\n> hello\n\n{wrong}\n")
    with pytest.raises(ValueError, match=r"^en-x\.txt, paragraph 2: not a kind and utterances") as told:
        written.talks(tmp_path)
    assert "secret" not in str(told.value)
