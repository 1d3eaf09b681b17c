"""What the locks name, with the licences of what is installed here, and of what only the GPU image has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import yaml

from audit.licences import fine, licence

ROOT = Path(__file__).parent.parent
LOCKS = {
    "here": "requirements-cpu.lock",
    "cpu image": "requirements-image-cpu.lock",
    "gpu image": "requirements-image-gpu.lock",
    "uv": "requirements-uv.lock",
}
INSTALLED = frozenset(LOCKS) - {"gpu image"}
"""Those whose packages `make setup` installs."""
GPU_LICENCES = Path(__file__).with_name("gpu-licences.yaml")
"""Licences of the packages that only the GPU image has, by name and version (`audit.gpu_licences`)."""


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    locks: tuple[str, ...]
    licence: str | None
    """None: it is not installed here in this version, nor is it kept."""


@dataclass(frozen=True)
class Exempted:
    licence: str
    """What somebody looked at: with another one it is looked at again."""
    reason: str


def locked() -> list[Package]:
    """Every package of every lock by name; one with two versions is there twice."""
    found: dict[tuple[str, str], list[str]] = {}
    for lock, file in LOCKS.items():
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / file).read_text("utf-8"), re.MULTILINE):
            found.setdefault((name, version), []).append(lock)
    kept = yaml.safe_load(GPU_LICENCES.read_text("utf-8"))
    return [
        Package(*key, tuple(locks), _installed(*key) or kept.get(f"{key[0]}=={key[1]}"))
        for key, locks in sorted(found.items())
    ]


def exceptions() -> dict[str, Exempted]:
    entries = yaml.safe_load((ROOT / "audit/exceptions.yaml").read_text("utf-8"))
    return {name: Exempted(**entry) for name, entry in entries.items()}


def complaints(packages: list[Package], exempted: Mapping[str, Exempted]) -> list[str]:
    """What is to be done, a line each: look at a licence, or take an exception out."""
    found, needed = [], set()
    for package in packages:
        if package.licence is None:
            mend = "is not installed: run `make setup`" if INSTALLED & set(package.locks) else _NOT_READ
            found.append(f"{package.name} {package.version} {mend}")
            continue
        if fine(package.licence):
            continue
        needed.add(package.name)
        given = exempted.get(package.name)
        of = f"{package.name} {package.version}"
        if given is None:
            found.append(f"{of}: look at its licence ({package.licence})")
        elif given.licence != package.licence:
            found.append(f"{of}: its licence is {package.licence} now, the exception is for {given.licence}")
    found += [f"{name}: the exception is not needed any more" for name in sorted(set(exempted) - needed)]
    return found


_NOT_READ = "has a licence that was not read: run `python -m audit.gpu_licences`"


def _installed(name: str, version: str) -> str | None:
    try:
        there = distribution(name)
    except PackageNotFoundError:
        return None
    return licence(there.metadata) if there.version == version else None
