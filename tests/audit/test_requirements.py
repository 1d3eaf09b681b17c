"""The GPU image's lock, which is not installed where this is tested: each package finds what it says that it requires,
and our code all that it imports."""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from audit.packages import ROOT
from audit.requirements import Stated, asked, locked, stated

LEFT_OUT = {line for line in (ROOT / "excludes.txt").read_text().splitlines() if not line.startswith("#")}


@pytest.fixture(scope="module")
def lock() -> Mapping[str, str]:
    return locked("gpu image")


@pytest.fixture(scope="module")
def known(lock: Mapping[str, str]) -> Stated:
    found = stated()
    assert not lock.keys() - found.keys(), "run `make setup`, and where the lock is new `python -m audit.requirements`"
    return found


def unmet(requirements: Iterator[Requirement], lock: Mapping[str, str]) -> list[str]:
    def is_met(requirement: Requirement) -> bool:
        name = canonicalize_name(requirement.name)
        return name in LEFT_OUT or (name in lock and requirement.specifier.contains(lock[name], prereleases=True))

    return [str(requirement) for requirement in requirements if not is_met(requirement)]


def test_vllm_finds_what_its_wheel_for_cuda_requires(lock: Mapping[str, str], known: Stated) -> None:
    wanted = {requirement.name for requirement in asked(known["vllm"])}
    assert {"torch", "transformers", "xgrammar", "flashinfer-python"} <= wanted
    assert unmet(asked(known["vllm"]), lock) == []


def test_so_does_every_package_with_the_extras_that_are_asked_of_it(lock: Mapping[str, str], known: Stated) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ahead = [*map(Requirement, project["dependencies"] + project["optional-dependencies"]["gpu"])]
    assert unmet(iter(ahead), lock) == []
    reached = set[tuple[str, frozenset[str]]]()
    wrong = {}
    while ahead:
        requirement = ahead.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name in known and (name, extras) not in reached:
            reached.add((name, extras))
            if missing := unmet(asked(known[name], extras), lock):
                wrong[name] = missing
            ahead += asked(known[name], extras)
    assert wrong == {}
    assert {name for name, _ in reached} == lock.keys(), "nobody asks for the others"


def imported() -> Iterator[tuple[str, str]]:
    """Names that our modules import from elsewhere, with the module's file."""
    for folder in ("serving", "deployments", "kernels"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names.append(node.module)
                for name in {name.partition(".")[0] for name in names}:
                    if name not in sys.stdlib_module_names and not name.startswith("psychechat"):
                        yield name, str(file.relative_to(ROOT))


def test_what_our_code_imports_is_locked(lock: Mapping[str, str]) -> None:
    found = set(imported())
    assert len(found) > 50
    named = {"grpc": "grpcio", "opentelemetry": "opentelemetry-api", "yaml": "pyyaml"}
    assert {(name, file) for name, file in found if named.get(name, canonicalize_name(name)) not in lock} == set()
