"""What holds for every test, and which of them run, where and in what order: tests/README.md says it in words."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from tests.support import lanes, ports
from tests.support.again import Again
from tests.support.changed import changed, passed_at
from tests.support.lanes import Lanes
from tests.support.skips import ExpectedSkips

TESTS = Path(__file__).parent
IMPORT_TORCH = {
    *(TESTS / "serving/demo" / file for file in ("test_encoder.py", "test_smollm2.py", "test_thresholds.py")),
    TESTS / "serving/engines/vllm",
}
"""Those of `tests/serving`. `--quick` leaves them out, and any other that imports it fails."""

# Before anything imports Triton: without a GPU its kernels, of which only ours runs in tests, are interpreted.
if version("torch").endswith("+cpu") or not list(Path("/dev").glob("nvidia[0-9]*")):
    os.environ["TRITON_INTERPRET"] = "1"
if (worker := ports.worker()) is not None:
    os.environ.update(ports.fixed(worker))  # Ray reads them while it is imported, here and in what is started from here
settings.register_profile("tests", deadline=None)  # a test waits for the other worker, too
settings.register_profile("quick", settings.get_profile("tests"), max_examples=20)
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("psychechat")
    group.addoption("--long", action="store_true", help="run what is marked `long`, and all that is marked `reads`")
    group.addoption("--quick", action="store_true", help="see that nothing imports torch; few drawn examples")
    group.addoption("--again", type=Path, metavar="FILE", help="name there the files that a stall may have failed")
    group.addoption("--expected-skips", type=Path, metavar="FILE", help="fail for a skip that it does not name")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.quick:
        sys.modules["torch"] = None  # type: ignore[assignment]  # which is how Python is told to refuse
        settings.load_profile("quick")
    if hasattr(config, "workerinput"):
        return
    if config.option.expected_skips:
        config.pluginmanager.register(ExpectedSkips(config.option.expected_skips))
    if config.option.again:
        config.pluginmanager.register(Again(config.option.again))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.option.quick and collection_path in IMPORT_TORCH else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.long:
        has_changed = cache(changed)
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes long: `make long` runs it"))
            elif (reads := item.get_closest_marker("reads")) and not has_changed(*reads.args):
                since = f"nothing that it reads has changed since {passed_at()[:7]}, where it passed"
                item.add_marker(pytest.mark.skip(reason=f"{since}: `make long` runs it, and so does `pytest --long`"))
    if hasattr(config, "workerinput"):
        lanes.arrange(items)


@pytest.fixture(scope="module", autouse=True)
def _one_core(request: pytest.FixtureRequest) -> Iterator[None]:
    """Threads that wait for each other burn the core that the other worker has; tiny models take ten times as long."""
    if worker is None or lanes.lane(request.path) == lanes.MACHINE:
        yield
        return
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def demo_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, written once for all workers."""
    from psychechat.demo.encoder import prepare

    base = tmp_path_factory.getbasetemp()
    return prepare((base if worker is None else base.parent) / "classifier")


@pytest.fixture(scope="session")
def smollm2_bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's folder for training, written once for all workers."""
    from psychechat.demo.smollm2 import prepare

    base = tmp_path_factory.getbasetemp()
    return prepare((base if worker is None else base.parent) / "smollm2", adapter=None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes | None:
    return Lanes(config, log) if config.option.dist == "load" else None


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Callable[[], Path]]:
    """Folders for Rays: their sockets' paths may have 107 bytes, which those of a worker of xdist use up."""
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as root:
        yield lambda: Path(mkdtemp(dir=root, prefix="r"))
