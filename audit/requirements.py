"""What the packages of the GPU image's lock require, by their own word.

`python -m audit.requirements`, which `make lock` ends with, asks an index for those that are not installed here.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryDirectory

from msgpack import Unpacker  # type: ignore[import-untyped]
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from audit.packages import LOCKS, ROOT

FILE = Path(__file__).with_name("gpu-requirements.txt")
MACHINE: Mapping[str, str] = {
    **{name: str(value) for name, value in default_environment().items()},
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
}
"""The one that the image is for, as markers of requirements see it."""
_HEAD = "# Written by `python -m audit.requirements`: what wheels of the index say that they require (Requires-Dist).\n"

Stated = Mapping[str, tuple[Requirement, ...]]
"""By package of the lock: what it says, extras among it."""


def locked(lock: str) -> dict[str, str]:
    """Versions by name."""
    text = (ROOT / LOCKS[lock]).read_text("utf-8")
    return {canonicalize_name(name): number for name, number in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


def stated() -> Stated:
    """Of each package of the lock that is installed here, or kept in FILE, in the version that is locked."""
    kept = _kept()
    found = {}
    for name, number in locked("gpu image").items():
        if f"{name}=={number}" in kept:
            found[name] = kept[f"{name}=={number}"]
        elif _installed(name) == number:
            found[name] = tuple(map(Requirement, requires(name) or ()))
    return found


def asked(requirements: Iterable[Requirement], extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Those that hold on that machine, with these extras of the package that states them."""
    for requirement in requirements:
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**MACHINE, "extra": extra}) for extra in ("", *extras)):
            yield requirement


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _kept() -> dict[str, tuple[Requirement, ...]]:
    kept: dict[str, list[Requirement]] = {}
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("    "):
            kept[next(reversed(kept))].append(Requirement(line))
        elif not line.startswith("#"):
            kept[line] = []
    return {package: tuple(requirements) for package, requirements in kept.items()}


def _fetched() -> Iterator[tuple[str, list[str]]]:
    """Name, version and requirements of each package that uv looks at when it resolves the lock once more."""
    with TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("".join(f"{name}=={number}\n" for name, number in locked("gpu image").items()))
        uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--extra", "gpu"]
        uv += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_35", "--excludes", "excludes.txt"]
        uv += ["--constraint", constraints, "--output-file", Path(folder, "again.txt"), "pyproject.toml"]
        subprocess.run(uv, check=True, cwd=ROOT, env=os.environ | {"UV_CACHE_DIR": folder})  # noqa: S603
        for path in Path(folder).glob("wheels-*/*/*/*.msgpack"):
            with path.open("rb") as file:
                name, number, requirements, *_ = next(iter(Unpacker(file)))
            yield f"{name}=={number}", requirements


def main() -> None:
    here, image = locked("here"), locked("gpu image")
    wanted = {f"{name}=={number}" for name, number in image.items() if here.get(name) != number}
    found = {package: requirements for package, requirements in _fetched() if package in wanted}
    if missing := sorted(wanted - found.keys()):
        sys.exit(f"uv has not read {', '.join(missing)}: are all of them wheels?")
    lines = [line for package in sorted(found) for line in (package, *(f"    {each}" for each in found[package]))]
    FILE.write_text(_HEAD + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
