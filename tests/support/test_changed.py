"""When a test runs that is skipped while nothing that it reads has changed: too often is a waste, too seldom a hole."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.changed import OLD, PASSED, changed

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """In a repository with `read/it`, which passed at its first commit."""
    identity = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]

    def run(*command: str) -> str:
        done = subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("init", "--quiet")
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "it").write_text("one")
    run("add", "--all")
    run("commit", "--quiet", "--message", "first")
    (tmp_path / PASSED).parent.mkdir()
    (tmp_path / PASSED).write_text(run("rev-parse", "HEAD") + "\n")
    return run


def test_what_has_not_changed_is_not_run(git: Git, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("new")
    git("add", "--all")
    git("commit", "--quiet", "--message", "another file")
    assert not changed("read", root=tmp_path)


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("name", ["it", "a new one"])
def test_what_has_changed_is_run_before_and_after_its_commit(
    git: Git, tmp_path: Path, name: str, committed: bool
) -> None:
    (tmp_path / "read" / name).write_text("two")
    if committed:
        git("add", "--all")
        git("commit", "--quiet", "--message", "changed")
    assert changed("read", root=tmp_path)


def test_what_is_deleted_or_renamed_has_changed(git: Git, tmp_path: Path) -> None:
    git("mv", "read/it", "elsewhere")
    assert changed("read", root=tmp_path)
    assert not changed("other", root=tmp_path)


def test_a_pathspec_can_leave_files_out(git: Git, tmp_path: Path) -> None:
    (tmp_path / "read" / "code.py").write_text("1")
    assert not changed("read", ":(exclude)*.py", root=tmp_path)
    (tmp_path / "read" / "data.yaml").write_text("1")
    assert changed("read", ":(exclude)*.py", root=tmp_path)


def test_what_passed_long_ago_is_run_again(git: Git, tmp_path: Path) -> None:
    for number in range(OLD):
        if number in (0, OLD - 1):
            assert not changed("read", root=tmp_path)
        git("commit", "--quiet", "--allow-empty", "--message", f"{number}")
    assert changed("read", root=tmp_path)


@pytest.mark.parametrize("noted", ["", "0" * 40, "no commit"], ids=["nothing", "unknown", "rubbish"])
def test_where_git_does_not_know_the_commit_all_is_run(git: Git, tmp_path: Path, noted: str) -> None:
    """As in a clone that holds the newest commit only."""
    (tmp_path / PASSED).write_text(noted)
    assert changed("read", root=tmp_path)


def test_without_a_repository_all_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / PASSED).parent.mkdir()
    (tmp_path / PASSED).write_text("0" * 40)
    assert changed("read", root=tmp_path)


def test_without_git_all_is_run(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert changed("read", root=tmp_path)
