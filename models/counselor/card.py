"""The model card, written beside the weights."""

from collections.abc import Mapping
from pathlib import Path


def write(folder: Path, summary: Mapping[str, object]) -> None:
    (folder / "README.md").write_text(f"# nano\n\n{summary}\n", encoding="utf-8")
