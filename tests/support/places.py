"""What a server that runs shows of itself, by place: its processes, HAProxy's admin socket, Ray's tables."""

import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
Place = tuple[str, bytes]
"""Its name, and what stands there."""

_COMMANDS = (
    *("show errors", "show sess all", "show stat", "show stat typed", "show info", "show servers state"),
    *("show table", "show events buf0", "show activity", "show env", "show fd", "show map", "show pools"),
)


def processes(root: int, title: str = "") -> list[Path]:
    """Folders in /proc of the process and its children, at any depth, whose command line begins so."""
    parents: dict[str, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if line := read(folder / "stat"):  # empty where the process has gone since it was listed
            parents[folder.name] = line.rpartition(b")")[2].split()[1].decode()

    def ours(process: str) -> bool:
        return process == str(root) or (process in parents and ours(parents[process]))

    return [
        Path("/proc", pid)
        for pid in parents
        if ours(pid) and read(Path("/proc", pid, "cmdline")).startswith(title.encode())
    ]


def read(file: Path) -> bytes:
    """Nothing where the process is gone."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def of_processes(folders: Iterable[Path]) -> Iterator[Place]:
    """What anyone may see in /proc, and each file that one of them has open to write, deleted or in memory too."""
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        name = f"{folder} ({read(folder / 'comm').decode().strip()})"
        for file in (*(folder / f for f in ("cmdline", "environ", "comm")), *folder.glob("task/*/comm")):
            yield f"{name}: {file.relative_to(folder)}", read(file)
        for opened in folder.glob("fd/*"):
            try:
                link, found = os.readlink(opened), opened.stat()
            except OSError:  # closed since it was listed
                continue
            yield f"{name}: {opened.relative_to(folder)} links to", link.encode()
            if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) not in seen and _writes(opened):
                seen.add((found.st_dev, found.st_ino))
                yield f"{name}: {link}", _data(opened, found.st_size)


def _data(opened: Path, size: int) -> bytes:
    """Without the holes: Ray's object store is 100 MB of them."""
    content, at = b"", 0
    with opened.open("rb") as file, suppress(OSError):  # raised where only a hole is left
        while at < size:
            at = file.seek(at, os.SEEK_DATA)
            end = file.seek(at, os.SEEK_HOLE)
            file.seek(at)
            content += file.read(end - at)
            at = end
    return content


def _writes(opened: Path) -> bool:
    flags = re.search(rb"flags:\s*(\d+)", read(opened.parents[1] / "fdinfo" / opened.name))
    return flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY


def haproxy_config(folders: Iterable[Path]) -> Path:
    """Of the HAProxy among the processes; of several, one may be about to leave."""
    commands = [read(folder / "cmdline").decode().split("\0") for folder in folders]
    return next(Path(c[c.index("-f") + 1]) for c in commands if Path(c[0]).name == "haproxy" and "-f" in c)


def admin_socket(config: Path) -> Path:
    found = re.search(r"^\s*stats socket (\S+)", config.read_text(), re.MULTILINE)
    assert found, config
    return Path(found[1])


def of_haproxy(config: Path) -> Iterator[Place]:
    """Its answers to who may open its socket, and the files beside that and its configuration."""
    admin = admin_socket(config)
    for command in _COMMANDS:
        # What it keeps of a request is cut into lines, of which all but the first are numbered so.
        yield f"HAProxy: {command}", re.sub(rb"\n +\d+\+ ", b"", _answer(admin, command))
    for folder in {config.parent, admin.parent}:
        for file in folder.iterdir():
            if file.is_file():
                yield str(file), read(file)


def _answer(admin: Path, command: str) -> bytes:
    answer = b""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(20)
        asking.connect(str(admin))
        asking.sendall(command.encode() + b"\n")
        while piece := asking.recv(65536):
            answer += piece
    return answer


def of_ray(session: Path, folders: Iterable[Path]) -> Iterator[Place]:
    """What Ray's control store tells of actors, workers and tasks with their errors, and its keys and values."""
    [port] = session.glob("gcs_server_port_*")
    environments = [read(folder / "environ").decode().split("\0") for folder in folders]
    ours = dict(line.split("=", 1) for env in environments for line in env if line.startswith("RAY_AUTH_"))
    command = [sys.executable, "-m", "tests.support.ray_tables", port.read_text().strip()]
    told = subprocess.run(command, cwd=ROOT, env={**os.environ, **ours}, capture_output=True, timeout=120)
    assert told.returncode == 0, told.stderr.decode()
    yield "Ray's control store", told.stdout
