"""`psychechat report`: a page with plots of what was detected in a conversation or a corpus."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console

from psychechat.commands.console import fail, printable
from psychechat.commands.files import replacing
from psychechat.report import Tally, Turn, Unreadable, read, render

_QUIET_SECONDS = 2.0
_FROM = "what psychechat classify, /save or the playground's export wrote"


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Of classify, a log of replies, or a conversation that was saved; - is stdin."
        ),
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Written whole or not at all, readable by you only. Example: -o week-12.html"
        ),
    ] = Path("report.html"),
    with_texts: Annotated[
        bool, typer.Option("--with-texts", help="Show what was said, too. Then the page is clinical data.")
    ] = False,
) -> None:
    """Draw what was detected over a conversation or a corpus, as one HTML page.

    It needs no network, no script and no server, can be printed, and has the numbers of each plot in a table. It holds
    no words of anybody unless you ask for them. Lines may be:

    \b
    what psychechat classify wrote, or /v1/classify       one object a line
    replies of the server, with their psychechat object   one chat completion or response a line
    what /save of psychechat chat wrote                   one conversation a file
    what the playground exported                          one conversation a file

    \b
    psychechat classify --input messages.jsonl --output classified.jsonl
    psychechat report classified.jsonl -o messages.html
    zcat replies.jsonl.gz | psychechat report - -o week-12.html
    psychechat report conversation.json --with-texts

    What cannot be read is counted, told by line number, and left out. Nothing here diagnoses or assesses anybody.
    """
    tally = Tally(texts=with_texts)
    try:
        with _opened(source, target) as file:
            for entry in _with_progress(read(file)):
                tally.add(entry)
        if not tally.turns:
            fail(_nothing(source, tally))
        name = "standard input" if source == "-" else Path(source).name
        with replacing(target) as page:
            page.write(render(tally, printable(name), texts=with_texts).encode("utf-8", "replace"))
    except OSError as error:
        fail(f"{error.filename or target}: {error.strerror}.")
    told = f"{_count(tally.turns, 'turn')} drawn in {target}."
    if tally.unreadable:
        told += f" {_count(tally.unreadable, 'line')} could not be read, which the page tells by number."
    Console().print(told, markup=False, highlight=False, soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def _opened(source: str, target: Path) -> Iterator[BinaryIO]:
    if target.is_dir() or not target.absolute().parent.is_dir():
        fail(f"{target} cannot be written: name a file in an existing folder with --output.")
    if source == "-":
        yield sys.stdin.buffer
        return
    file = Path(source)
    if not file.exists():
        fail(f"There is no file {file}: pass {_FROM}, or - for standard input.")
    if file.is_dir():
        fail(f"{file} is a folder: pass a file in it.")
    if target.exists() and target.samefile(file):
        fail("The input and --output are the same file: name another --output.")
    with file.open("rb") as opened:
        yield opened


def _nothing(source: str, tally: Tally) -> str:
    name = "Standard input" if source == "-" else source
    if not tally.unreadable:
        return f"{name} is empty: pass {_FROM}, or a log of replies."
    first = tally.told[0]
    where = first.place[0].upper() + first.place[1:]
    return f"{name} holds nothing to draw. {where} {first.why}. `psychechat report --help` shows how."


def _with_progress(lines: Iterable[Turn | Unreadable]) -> Iterator[Turn | Unreadable]:
    """Tells on stderr how far it has come, from two seconds on."""
    began, console = time.monotonic(), Console(stderr=True)
    status = console.status("reading…")
    shown = False
    try:
        for number, entry in enumerate(lines, 1):
            if number % 1000 == 0 and time.monotonic() - began > _QUIET_SECONDS:
                if not shown:
                    status.start()
                    shown = True
                status.update(f"{number:,} turns read…")
            yield entry
    finally:
        status.stop()
