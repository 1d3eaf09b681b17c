"""Model folders that are written once: into a temporary folder, checksummed, then renamed."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blake3 import blake3
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

Write = Callable[[Path, Progress], Mapping[str, Any]]
"""Fills a folder, and gives what its manifest says beside the checksums."""

_MANIFEST = "manifest.json"


def written(cache: Path, name: str, write: Write, console: Console | None) -> Path:
    """The folder `name` under `cache`, written now if it is not there or is damaged.

    Safe to call from several processes at once: one writes, the others wait. Progress goes to `console` (stderr if
    None). Raises what `write` raises, and leaves nothing behind then.
    """
    folder = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if is_intact(folder):
            return folder
        staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
        try:
            with _progress(console) as progress:
                _seal(staging, write(staging, progress))
            if folder.exists():
                shutil.rmtree(folder)
            staging.chmod(0o755)
            staging.rename(folder)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return folder


def is_intact(folder: Path) -> bool:
    """Whether every file that the folder's manifest lists is there, with the checksum it had when written."""
    try:
        digests: dict[str, str] = manifest(folder)["blake3"]
        return all(digest(folder / name) == known for name, known in digests.items())
    except (OSError, ValueError, KeyError):
        return False


def manifest(folder: Path) -> dict[str, Any]:
    """What the folder says of itself. Raises OSError if it has no manifest, ValueError if that is not JSON."""
    said: dict[str, Any] = json.loads((folder / _MANIFEST).read_text())
    return said


def digest(path: Path) -> str:
    """BLAKE3 of a file, in hexadecimal. Raises OSError."""
    hasher = blake3(max_threads=blake3.AUTO)
    return hasher.update_mmap(path).hexdigest()


def _seal(folder: Path, said: Mapping[str, Any]) -> None:
    for file in folder.iterdir():
        file.chmod(0o644)
    digests = {file.name: digest(file) for file in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps({**said, "blake3": digests}, indent=2) + "\n")


@contextmanager
def _progress(console: Console | None) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        yield progress
