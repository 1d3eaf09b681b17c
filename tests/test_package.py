"""What the packages read at run time is packaged: a checkout would not miss it."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"psychechat": "serving", "psychechat_ray": "deployments", "psychechat_kernels": "kernels"}


@pytest.mark.parametrize("package", FOLDERS)
def test_every_file_that_is_no_code_is_named(package: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folder = ROOT / FOLDERS[package] / package
    named = {path for pattern in settings["package-data"][package] for path in folder.glob(pattern)}
    files = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files - named == set()
