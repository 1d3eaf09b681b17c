"""What the tests of real engines share."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    saved = [os.dup(1), os.dup(2)]
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            for number, original in zip((1, 2), saved, strict=True):
                os.dup2(original, number)
                os.close(original)


@pytest.fixture(scope="session")
def output_to() -> Callable[[Path], AbstractContextManager[None]]:
    """What this process and its children print goes to a file; children keep it when the block ends."""
    return _output_to
