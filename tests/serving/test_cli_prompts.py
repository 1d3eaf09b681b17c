"""`psychechat prompts`: what a pack's stages would send, and errors that say what to do."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from psychechat.cli import commands
from psychechat.config import Settings
from psychechat.engines.base import StageName
from psychechat.prompts import BUILT_IN


def prompts(*args: str) -> Result:
    return CliRunner().invoke(commands, ["prompts", *args], env={"COLUMNS": "200"})


@pytest.mark.parametrize("pack", ["en", "zh"])
def test_show_prints_every_stage_with_all_that_it_may_be_told(pack: str) -> None:
    result = prompts("show", "--pack", pack)
    assert result.exit_code == 0
    headings = [line.strip("─ ") for line in result.stdout.splitlines() if line.startswith("─")]
    assert [heading.split(":")[0] for heading in headings] == list(StageName)
    assert "simulation: seeker answers in JSON" in headings
    assert "reply: counselor thinks, then answers in text" in headings
    refused = {"en": "Everyone is nervous", "zh": "谁都会紧张"}[pack]
    assert result.stdout.count(refused) == 1  # in the draft stage, as the draft that was refused
    assert result.stdout.count((BUILT_IN / pack / "system.txt").read_text("utf-8").splitlines()[0]) == 5


def test_show_explains_a_pack_that_is_not_right(tmp_path: Path) -> None:
    assert "expected a folder with a pack.yaml, or one of en, zh" in prompts("show", "--pack", "fr").stderr
    good = (BUILT_IN / "en" / "pack.yaml").read_text("utf-8")
    (tmp_path / "pack.yaml").write_text(good.replace("max_tokens: 480", "max_tokens: many"))
    assert "pack.yaml is not valid at stages.review.max_tokens" in prompts("show", "--pack", str(tmp_path)).stderr
    (tmp_path / "pack.yaml").write_text(good)
    assert "a template cannot be rendered: 'system.txt'" in prompts("show", "--pack", str(tmp_path)).stderr
    (tmp_path / "pack.yaml").write_text("stages: [")
    result = prompts("show", "--pack", str(tmp_path))
    assert "pack.yaml is not YAML: line 1" in result.stderr
    assert result.exit_code == 1


CLIENT = """
class Ours_LLM:
    def __call__(self):
        system_counselor = "THE SYSTEM"

class Ours_Agent:
    def __call__(self):
        emotion_prompt = "{{history}} {{seeker_utterance}} {{emotion_memory}}"
        system_counselor = "THE TOOLS"
        seeker_prompt = "{{history}} {{counselor_utterance}}"
        safety_prompt = "{{history}} {{counselor_utterance}} {{seeker_utterances}}"
"""


def test_import_writes_a_pack_that_show_can_read(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "evaluation").mkdir(parents=True)
    (tmp_path / "theirs" / "evaluation" / "model_response.py").write_text(CLIENT)
    output = str(tmp_path / "packs" / "published")
    result = prompts("import", str(tmp_path / "theirs"), "--output", output)
    assert result.exit_code == 0
    assert f"prompts show --pack {output}" in result.stdout
    assert "no licence beside it" in result.stdout
    settings = Settings.model_validate(yaml.safe_load(result.stdout[result.stdout.index("packs:") :]))
    assert (settings.packs["zh"], settings.casting.part("reply", "zh").engine) == (output, "llm-counselor")
    shown = prompts("show", "--pack", output)
    assert shown.exit_code == 0
    assert shown.stdout.count("THE SYSTEM") == shown.stdout.count("THE TOOLS") == 1

    again = prompts("import", str(tmp_path / "theirs"), "--output", output)
    assert (again.exit_code, "already exists: name another folder" in again.stderr) == (1, True)


def test_import_names_what_it_did_not_find(tmp_path: Path) -> None:
    result = prompts("import", str(tmp_path), "--output", str(tmp_path / "pack"))
    assert result.exit_code == 1
    assert "no class Ours_Agent or PsycheChat_Agent_Mode in evaluation/model_response.py" in result.stderr
    assert not (tmp_path / "pack").exists()
    result = prompts("import", str(tmp_path / "nowhere"), "--output", str(tmp_path / "pack"))
    assert "there is no folder" in result.stderr


def test_a_copy_is_a_pack_to_change(tmp_path: Path) -> None:
    folder = tmp_path / "packs" / "ours"
    result = prompts("copy", str(folder), "--pack", "zh")
    assert (result.exit_code, f"{{zh: {folder}}}" in result.stdout) == (0, True)
    (folder / "system.txt").write_text("OUR WORDS")
    assert prompts("show", "--pack", str(folder)).stdout.count("OUR WORDS") == len(StageName)
    assert "OUR WORDS" not in prompts("show", "--pack", "zh").stdout
    assert "name another folder" in prompts("copy", str(folder)).stderr
    assert "is no prompt pack" in prompts("copy", str(tmp_path / "new"), "--pack", str(tmp_path)).stderr
