"""Lines of a crisis: known for an hour, to their own tenant, without a word of them kept."""

from psychechat.memory.base import Keys
from psychechat.memory.crisis_lines import SECONDS, CrisisLines

KEYS = Keys(bytes(32))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_known_for_an_hour() -> None:
    clock = Clock()
    lines = CrisisLines(KEYS, clock)
    lines.note("team", ["I want to die"])
    clock.now = SECONDS - 1
    assert lines.knows("team", "I want to die")
    clock.now = SECONDS
    assert not lines.knows("team", "I want to die")


def test_no_line_of_another_tenant_or_of_other_words_is_known() -> None:
    lines = CrisisLines(KEYS)
    lines.note("team", ["I want to die"])
    assert not lines.knows("others", "I want to die")
    assert not lines.knows("team", "I want to die tonight")


def test_white_space_and_what_a_page_cuts_off_make_no_difference() -> None:
    lines = CrisisLines(KEYS)
    lines.note("team", ["I want  to\ndie. " + "No one listens. " * 90])
    assert lines.knows("team", "I want to die. " + "No one listens. " * 20 + "..." + "No one listens. " * 20)


def test_what_is_kept_holds_no_word() -> None:
    lines = CrisisLines(KEYS)
    lines.note("team", ["I want to die"])
    assert "die" not in repr(vars(lines))
    assert "team" not in repr(vars(lines))
