import pytest

from psychechat.emotion import LABELS, Emotion, Group, Label, decode, distinct, label_names, valence

HALF = dict.fromkeys(Group, 0.5)


def test_every_label_has_one_name_a_language_and_is_found_by_both() -> None:
    assert len(LABELS) == 24
    for language in ("en", "zh"):
        assert len(set(label_names(language))) == 24
        assert [Label.parse(name) for name in label_names(language)] == list(LABELS)
    with pytest.raises(ValueError, match="24"):
        Label.parse("hangry")


@pytest.mark.parametrize(
    ("names", "score"),
    [
        ((), 0),
        (("ecstatic",), 3),
        (("trusting", "calm"), 3),
        (("caring",), 1),
        (("expectant",), 2),
        (("vigilant",), 0),  # the one label of anticipation that is neither good nor bad
        (("terrified", "grieving", "furious"), -9),
        (("快乐", "担心"), 1),  # Chinese names score alike
    ],
)
def test_valence_adds_up_as_in_the_paper(names: tuple[str, ...], score: int) -> None:
    assert valence(map(Label.parse, names)) == score


def test_of_two_labels_of_a_group_the_stronger_stays_in_the_place_of_the_first() -> None:
    worried, sad, terrified, calm, angry = map(Label.parse, ("worried", "sad", "terrified", "calm", "angry"))
    assert distinct([worried, sad, terrified]) == [terrified, sad]
    assert distinct([worried, sad, calm, angry]) == [worried, sad, calm]


def test_decode_keeps_three_groups_at_most_and_names_the_likeliest_intensity() -> None:
    silent = (1.0, 0.0, 0.0, 0.0)
    groups = dict.fromkeys(Group, silent) | {
        Group.JOY: (0.2, 0.1, 0.6, 0.1),
        Group.FEAR: (0.5, 0.5, 0.0, 0.0),
        Group.ANGER: (0.05, 0.05, 0.1, 0.8),
        Group.TRUST: (0.4, 0.2, 0.2, 0.2),
        Group.DISGUST: (0.51, 0.49, 0.0, 0.0),
    }
    assert decode(groups, HALF) == [
        Emotion(Label(Group.ANGER, 3), 0.95),
        Emotion(Label(Group.JOY, 2), 0.8),
        Emotion(Label(Group.TRUST, 1), 0.6),
    ]
    assert decode(dict.fromkeys(Group, silent), HALF) == []


def test_each_group_has_a_threshold_of_its_own() -> None:
    """One that does not reach its own takes no place from those that do."""
    groups = dict.fromkeys(Group, (1.0, 0.0, 0.0, 0.0)) | {
        Group.JOY: (0.1, 0.9, 0.0, 0.0),
        Group.FEAR: (0.2, 0.8, 0.0, 0.0),
        Group.ANGER: (0.3, 0.7, 0.0, 0.0),
        Group.TRUST: (0.7, 0.3, 0.0, 0.0),
        Group.DISGUST: (0.8, 0.2, 0.0, 0.0),
    }
    found = decode(groups, {**HALF, Group.JOY: 0.95, Group.TRUST: 0.3, Group.DISGUST: 0.25})
    assert [emotion.label.group for emotion in found] == [Group.FEAR, Group.ANGER, Group.TRUST]


def test_of_equal_groups_and_of_equal_intensities_the_first_is_named() -> None:
    groups = dict.fromkeys(Group, (0.4, 0.3, 0.3, 0.0))
    assert [emotion.label for emotion in decode(groups, HALF)] == [Label(group, 1) for group in list(Group)[:3]]
