"""Containers out of Linux's namespaces, without a container engine. As root.

A `Sandbox` is a pod's network, host name and IPC, with an address of its own on the machine's bridge. A `Container` has
its processes, its mounts and its root: this machine's programs and this environment's packages in the place of an
image, read-only where the manifest says so.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

BRIDGE, ADDRESS, PREFIX = "pods", "10.244.0.1", 16
IMAGE = Path("/opt/psychechat")
"""Where the image has its Python environment."""
SOURCE = Path("/src")
ETC = "/run/etc"
"""Where the files of /etc lie that change while a container runs; in /etc are links to them."""
ETC_FILES = ("passwd", "group", "nsswitch.conf", "resolv.conf", "hosts", "ld.so.cache", "ld.so.conf")
REPOSITORY = Path(__file__).parents[2]
IMAGE_ENV: Mapping[str, str] = {
    "PATH": f"{IMAGE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "VENV": str(IMAGE),
    "PYTHONUNBUFFERED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # An image has our packages among the others.
    "PYTHONPATH": ":".join(str(SOURCE / folder) for folder in ("serving", "deployments", "kernels")),
}
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_PROGRAMS = {name: shutil.which(name) or name for name in ("nsenter", "unshare", "ip", "sleep", "bash", "setpriv")}


@dataclass(frozen=True)
class User:
    """Whom a container runs as, and with what it may not do."""

    uid: int
    gid: int
    groups: int
    escalates: bool = False
    drops_all: bool = True

    @property
    def command(self) -> list[str]:
        found = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", f"--groups={self.groups}"]
        if not self.escalates:
            found.append("--no-new-privs")
        if self.drops_all:
            found += ["--inh-caps=-all", "--bounding-set=-all"]
        return found


@dataclass(frozen=True)
class Mount:
    source: Path
    target: str
    """Absolute, in the container."""
    read_only: bool = False


def inside(command: Sequence[str]) -> list[str]:
    """The command with a network, mounts and processes of its own, which end with it: where sandboxes may be made."""
    apart = "unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private".split()
    # A shell is the first process in there: it buries whom nobody waits for, and until then a container is not gone.
    return [*apart, "bash", "-c", '"$@"; exit $?', "init", *command]


def make_bridge() -> None:
    """What all sandboxes of this network namespace are connected by, with this process at ADDRESS."""
    for words in (
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"addr add {ADDRESS}/{PREFIX} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ):
        _ip(words)


def _ip(words: str) -> None:
    subprocess.run([_PROGRAMS["ip"], *words.split()], check=True)


class Sandbox:
    def __init__(self, name: str, number: int) -> None:
        """`number`: its own among all on the bridge, from 2 on."""
        self.ip = f"10.244.{number // 256}.{number % 256}"
        wait_in = [_PROGRAMS["unshare"], "--net", "--uts", "--ipc", _PROGRAMS["sleep"], "infinity"]
        self._process = subprocess.Popen(wait_in)
        self.pid = self._process.pid
        deadline = time.monotonic() + 10
        while not self._is_apart():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name}: no namespaces of its own")
            time.sleep(0.01)
        _ip(f"link add veth{number} master {BRIDGE} type veth peer name eth0 netns {self.pid}")
        _ip(f"link set veth{number} up")
        inside = f"ip addr add {self.ip}/{PREFIX} dev eth0 && ip link set eth0 up && ip link set lo up"
        inside += f" && ip route add default via {ADDRESS}"  # to nowhere: a way out is how Ray finds its own address
        enter = [_PROGRAMS["nsenter"], "-t", str(self.pid), "--net", "--uts", "sh", "-c"]
        subprocess.run([*enter, f"{inside} && hostname {shlex.quote(name)}"], check=True)

    def _is_apart(self) -> bool:
        return all(
            os.readlink(f"/proc/{self.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
            for kind in ("net", "uts", "ipc")
        )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Container:
    """One run of a container. It is not started again: the next run is another object."""

    def __init__(
        self,
        sandbox: Sandbox,
        root: Path,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        mounts: Sequence[Mount],
        user: User,
        read_only: bool,
        folder: str,
        log: IO[bytes],
    ) -> None:
        """Starts it. `root`: an empty folder. `folder`: where the command is run."""
        self._env, self._user = {**IMAGE_ENV, **env}, user
        root.mkdir(parents=True, exist_ok=True)
        script = _script(root, mounts, read_only=read_only, folder=folder)
        enter = ["nsenter", "-t", str(sandbox.pid), "--net", "--uts", "--ipc"]
        enter += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        self._outer = subprocess.Popen(
            [*enter, "bash", "-c", script, "bash", *user.command, *command],
            executable=_PROGRAMS["nsenter"],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.pid: int | None = None
        """Its first process, as it is called out here."""
        deadline = time.monotonic() + 20
        while not self.ended and not self._has_its_root():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{root}: the container has not started")
            time.sleep(0.01)

    def _has_its_root(self) -> bool:
        """Whether its first process is the command, and no longer what makes its mounts."""
        with suppress(OSError):
            children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
            self.pid = int(children[0]) if children else None
            return self.pid is not None and b"pivot_root" not in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        return False

    @property
    def ended(self) -> bool:
        return self._outer.poll() is not None

    def status(self) -> int:
        """Of a container that has ended."""
        return self._outer.wait()

    def execute(self, command: Sequence[str], timeout: float) -> tuple[int | None, bytes]:
        """Run a command in it, as a hook or a probe: its status and its end of words. None: it took too long."""
        enter = ["nsenter", "-t", str(self.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd"]
        process = subprocess.Popen(
            [*enter, *self._user.command, *command],
            executable=_PROGRAMS["nsenter"],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # nsenter forks into the container's processes; both are of its session.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, b""
        return process.returncode, said[-2000:]

    def signal(self, number: signal.Signals) -> None:
        """To its first process. SIGKILL ends all others with it."""
        if self.pid is not None and not self.ended:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended by then."""
        with suppress(subprocess.TimeoutExpired):
            self._outer.wait(seconds)
        return self.ended


def _script(root: Path, mounts: Sequence[Mount], *, read_only: bool, folder: str) -> str:
    """Shell that makes the root out of mounts, goes there for good, and becomes its arguments."""
    lines = ["set -e", f"mount -t tmpfs -o mode=755,size=4m image {shlex.quote(str(root))}"]
    lines += [f"cd {shlex.quote(str(root))}", "mkdir -p proc sys dev etc opt mnt usr"]
    lines += [f"ln -s usr/{name} {name}" for name in ("bin", "sbin", "lib", "lib64")]
    lines += [f"ln -s {ETC}/{name} etc/{name}" for name in ETC_FILES]
    lines += ["mount --rbind /sys sys", "mount -t proc proc proc"]
    lines += ["mount -t tmpfs -o mode=755,size=64k dev dev", "mkdir dev/shm && chmod 1777 dev/shm"]
    for device in _DEVICES:
        lines.append(f"touch dev/{device} && mount --bind /dev/{device} dev/{device}")
    lines += ["ln -s /proc/self/fd dev/fd"]
    lines += [f"ln -s /proc/self/fd/{n} dev/{name}" for n, name in enumerate(("stdin", "stdout", "stderr"))]
    for mount in sorted([*_image(), *mounts], key=lambda mount: mount.target):
        source, target = shlex.quote(str(mount.source)), shlex.quote(f".{mount.target}")
        lines.append(f"mkdir -p {target} && mount --bind {source} {target}")
        if mount.read_only:
            lines.append(f"mount -o remount,bind,ro {target}")
    if Path(sys.prefix) != IMAGE:
        lines.append(f"ln -s {shlex.quote(sys.prefix)} .{IMAGE}")
    lines += ["pivot_root . mnt", "umount -l /mnt"]
    if read_only:
        lines.append("mount -o remount,ro /")
    return "\n".join([*lines, f"cd {shlex.quote(folder)}", 'exec "$@"'])


def _image() -> list[Mount]:
    """What stands for the image's files: the system's programs, this Python and its packages, and our source."""
    found = dict.fromkeys([Path("/usr"), Path(sys.prefix), Path(sys.base_prefix).resolve()])
    apart = [path for path in found if not any(path != other and path.is_relative_to(other) for other in found)]
    return [*(Mount(path, str(path), read_only=True) for path in apart), Mount(REPOSITORY, str(SOURCE), read_only=True)]
