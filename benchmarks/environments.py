"""Environments for other people's programs, whose requirements conflict with ours or with each other's."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_UV = [str(Path(sys.executable).with_name("uv"))]
_TORCH = "torch==2.13.0+cpu"
_WHEELS = "https://download.pytorch.org/whl/cpu/torch/"


def made(folder: Path, *requirements: str, files: Sequence[Path] = (), torch: bool = False) -> Path:
    """The folder with the programs of a new environment that holds these and those of requirements files.

    `torch`: its CPU build. Who requires it would get CUDA otherwise, gigabytes of it.
    """
    subprocess.run([*_UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    options = [option for file in files for option in ("--requirement", str(file))]
    if torch:
        options += ["--find-links", _wheels(), _TORCH]
    subprocess.run([*_UV, "pip", "install", "--quiet", "--python", python, *requirements, *options], check=True)
    return python.parent


def node(folder: Path) -> None:
    """Install what the folder's package-lock.json names, without running anything of it."""
    subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True)


def _wheels() -> str:
    """As in the Makefile: where pip looks for wheels, else PyTorch's own list."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    told = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return told or os.environ.get("PIP_FIND_LINKS", _WHEELS)
