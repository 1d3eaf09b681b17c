"""Whether what a test reads has changed since it passed: `tests/long-passed` names the commit where all of them did."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PASSED = Path("tests", "long-passed")
OLD = 30
"""Commits: what passed so long ago is run again, for what it reads without anybody having thought of it."""


def changed(*paths: str, root: Path = ROOT) -> bool:
    """Also by what is not committed yet. `paths` are git's pathspecs. True where git cannot tell."""
    try:
        passed = passed_at(root)
        if int(_git(root, "rev-list", "--count", f"{passed}..HEAD")) >= OLD:
            return True
        tracked = _git(root, "diff", "--name-only", passed, "--", *paths)
        return bool(tracked or _git(root, "ls-files", "--others", "--exclude-standard", "--", *paths))
    except (OSError, subprocess.CalledProcessError):  # no git, no repository, or a clone without that commit
        return True


def passed_at(root: Path = ROOT) -> str:
    return (root / PASSED).read_text("utf-8").strip()


def _git(root: Path, *command: str) -> str:
    return subprocess.run(["git", *command], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
