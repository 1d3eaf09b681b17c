"""On a machine without a GPU the kernel runs in Triton's interpreter (`tests/conftest.py`); with one, on it."""

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
