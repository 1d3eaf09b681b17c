"""GuideLLM as examples/guidellm runs it: every chat is answered, those of a crisis with its words."""

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "guidellm" / "run.sh"


def test_every_chat_is_answered(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1"}
    subprocess.run(["sh", EXAMPLE], cwd=tmp_path, env=env, check=True)
    [benchmark] = json.loads((tmp_path / "guidellm.json").read_text("utf-8"))["benchmarks"]
    assert not benchmark["requests"]["errored"]
    answered = benchmark["requests"]["successful"]
    assert len(answered) == 20
    assert any("local emergency number" in request["output"] for request in answered)
