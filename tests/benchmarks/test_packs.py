"""The packs that are dismissive on purpose: they are packs, and tell no stage how the seeker feels."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.packs.__main__ import dismissive
from psychechat.commands.prompts import commands


@pytest.mark.parametrize(("language", "felt"), [("en", ": worried"), ("zh", "：担心")])
def test_no_stage_hears_how_the_seeker_feels(language: str, felt: str, tmp_path: Path) -> None:
    theirs = dismissive(tmp_path)[language]
    shown = [CliRunner().invoke(commands, ["show", "--pack", pack]) for pack in (language, theirs)]
    assert [one.exit_code for one in shown] == [0, 0]
    # Of this turn and the one before it in two stages, and of the analysis in the draft.
    assert [one.output.count(felt) for one in shown] == [5, 0]
