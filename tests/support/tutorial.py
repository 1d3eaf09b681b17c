"""Does what docs/tutorial.md says, as it says it, in an empty folder.

What the words behind a block's ``` have the runner do:

    sh           run it in bash and see it end well; what begins with `psychechat` runs in this process, for speed
    sh server    start it in the background; what ran there of the same program ends first
    sh fails     see it fail
    sh again     run it until the output that follows is there
    sh begin     run it in a home of its own, with this checkout in it; what follows is not run there
    typed        the input of the command before
    output       what the command or the server before prints: `…` is anything, and white space counts once
    output of=X  what the server with X in its command prints by then
    … file=X     write X; with add=X write it to the end of X
    prometheus   leave the block out where there is no Prometheus, and count it

Other than on the page, ports are free ones, PID is the server's, and engines are scripted, unless there is a server to
take for the one that the page starts.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from typer.testing import CliRunner

from psychechat_ray.cli import app
from tests.support.durations import REPORTING
from tests.support.prometheus import is_installed
from tests.support.servers import Server, free_ports, started, wait_until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
PORTS = ("8000", "6390", "9000", "9090")
METRICS = re.compile(r"Metrics for Prometheus: http://127.0.0.1:(\d+)/metrics")
SECONDS = 120
"""For what does not come at once."""


@dataclass(frozen=True)
class Block:
    words: tuple[str, ...]
    text: str

    def of(self, name: str) -> str:
        """The value of NAME=VALUE, or nothing."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")), "")


@dataclass
class Step:
    """A block, with what is typed into it and what comes of it."""

    block: Block
    section: int
    """Number in its heading; 0 before the first."""
    typed: str = ""
    outputs: list[Block] = field(default_factory=list)


def steps() -> list[Step]:
    found: list[Step] = []
    section = 0
    for number, words, text in re.findall(
        r"^(?:## (\d+)\..*|```(.+)\n((?:.*\n)*?)```)$", PAGE.read_text("utf-8"), re.MULTILINE
    ):
        block = Block(tuple(words.split()), text)
        if number:
            section = int(number)
        elif block.words[0] == "typed":
            found[-1].typed = text
        elif block.words[0] == "output":
            found[-1].outputs.append(block)
        else:
            found.append(Step(block, section))
    return found


def named() -> list[str]:
    """Our commands with arguments that the page only mentions."""
    text = re.sub(r"^```.*?^```$", "", PAGE.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`psychechat ([a-z]+ [^`]+)`", text)


def missing(wanted: str, printed: str) -> str:
    """Nothing if what was wanted is all that was printed, else both, to be read."""
    one, other = (" ".join(text.split()) for text in (wanted, printed))
    pattern = ".*".join(re.escape(part.strip()) for part in re.split(r"(?:…\s*)+", one))
    return "" if re.fullmatch(pattern, other) else f"wanted:\n{wanted}\nprinted:\n{printed}"


@dataclass
class Background:
    command: str
    server: Server
    ending: ExitStack

    def log(self) -> str:
        return self.server.log.read_text("utf-8")


class Runner:
    """`server`: that the page's first one is, which then is not started."""

    def __init__(self, folder: Path, logs: Path, server: Server | None = None) -> None:
        self.folder, self.logs, self.server = folder, logs, server
        self.left_out = 0
        self.background: dict[str, Background] = {}
        """By program."""
        self.instead = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        """Of words on the page."""
        if server is not None:
            self.instead["8000"] = server.url.rpartition(":")[2]
        port = self.instead["8000"]
        self.instead |= {
            "psychechat serve": f"psychechat serve --engine scripted --port {port}",
            "psychechat chat": f"psychechat chat --url http://127.0.0.1:{port}/v1",
        }
        self.env = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CHECKOUT": str(ROOT),
            **REPORTING,
        }

    def run(self, step: Step) -> None:
        words, text, printed = step.block.words, self.here(step.block.text), ""
        if "prometheus" in words and not is_installed():
            self.left_out += 1
            return
        for word, mode in (("file", "w"), ("add", "a")):
            if name := step.block.of(word):
                with (self.folder / name).open(mode, encoding="utf-8") as file:
                    file.write(text)
        if "server" in words:
            self.start(text.strip())
        elif "begin" in words:
            self.begin(text)
        elif words[0] == "sh" and "again" not in words:
            printed = self.printed(text, step.typed, fails="fails" in words)
        for output in step.outputs:
            wanted, of = self.here(output.text), text.strip() if "server" in words else output.of("of")
            if of:
                [server] = [server for server in self.background.values() if of in server.command]
                self.wait(f"{wanted}…", server.log)
            elif "again" in words:
                self.wait(wanted, lambda: self.printed(text))
            else:
                assert not (told := missing(wanted, printed)), told

    def here(self, text: str) -> str:
        """The page's words with the ports and the process that they are here."""
        return re.sub(rf"\b({'|'.join(self.instead)})\b", lambda found: self.instead[found[0]], text)

    def start(self, command: str) -> None:
        program, *_ = arguments = shlex.split(command)
        if before := self.background.pop(program, None):
            before.ending.close()
        port, ending = int(self.instead["8000"]), ExitStack()
        if self.server is not None and program == "psychechat":
            self.background[program] = Background(command, self.server, ending)
            return
        log = self.logs / f"{len(list(self.logs.iterdir()))}-{program}"
        server = ending.enter_context(started(program, arguments, port, log, ready_path="/ready", env=self.env))
        background = self.background[program] = Background(command, server, ending)
        if program == "psychechat":
            server.wait_until_ready()
            self.wait("…Metrics for Prometheus…Ctrl-C stops…", background.log)
            self.instead |= {"PID": str(server.process.pid), "9110": METRICS.findall(background.log())[0]}

    def begin(self, script: str) -> None:
        """Leads to a folder that was not there, with this environment's command."""
        with TemporaryDirectory() as home:
            checkout = Path(home, "psychechat-server")
            checkout.mkdir()
            (checkout / ".venv").symlink_to(sys.prefix)
            code, printed = self.in_bash(f"{script}\npwd\ncommand -v psychechat", HOME=home, PATH=os.defpath)
        assert (code, printed.split()) == (0, [f"{home}/tutorial", str(Path(sys.executable).parent / "psychechat")])

    def printed(self, text: str, typed: str = "", *, fails: bool = False) -> str:
        """By the commands of a block."""
        told = ""
        for command in commands(text):
            by = self.of_ours if command.startswith("psychechat ") else self.in_bash
            code, printed = by(command, typed)
            assert (code != 0) is fails, f"{command}\n{printed}"
            told += printed
        return told

    def in_bash(self, script: str, given: str = "", **variables: str) -> tuple[int, str]:
        command = ["bash", "-ec", script]
        env = os.environ | self.env | variables
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=env, timeout=SECONDS)
        return done.returncode, done.stdout + done.stderr

    def of_ours(self, command: str, typed: str) -> tuple[int, str]:
        """What comes behind a pipe or an arrow is bash's again."""
        [(arguments, rest)] = re.findall(r"^psychechat (.*?)((?: [|>].*)?)$", command)
        result = CliRunner().invoke(app, arguments.split(), input=typed, env={"COLUMNS": "200"})
        if result.exit_code or not rest:
            return result.exit_code, result.output
        return self.in_bash(f"cat{rest}", result.stdout)

    def wait(self, wanted: str, printed: Callable[[], str]) -> None:
        wait_until(lambda: not missing(wanted, printed()), SECONDS, lambda: missing(wanted, printed()))

    def close(self) -> None:
        for background in self.background.values():
            background.ending.close()


def commands(text: str) -> Iterator[str]:
    """Each line of ours alone, and what is between them together."""
    for part in re.split(r"^(psychechat .*)\n", text, flags=re.MULTILINE):
        if part.strip():
            yield part
