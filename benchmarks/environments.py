"""Environments for other people's programs, whose requirements conflict with ours or with each other's."""

import subprocess
import sys
from pathlib import Path

_UV = [str(Path(sys.executable).with_name("uv"))]


def made(folder: Path, *requirements: str) -> Path:
    """The folder with the programs of a new environment that holds these, installed by uv."""
    subprocess.run([*_UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([*_UV, "pip", "install", "--quiet", "--python", python, *requirements], check=True)
    return python.parent
