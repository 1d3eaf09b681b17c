"""`psychechat resources`: which rows of the crisis table to look at, and a table of one's own from a spreadsheet."""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console

from psychechat.commands.console import fail, printable
from psychechat.help import fixed_words
from psychechat.help.resources import (
    INTERNATIONAL,
    BadTable,
    Doubt,
    Resource,
    Table,
    complaint,
    doubts,
    of_settings,
    shipped,
)

commands = typer.Typer(no_args_is_help=True, help="Look at the crisis resources, or read a table of your own.")

_REQUIRED = ("locale", "name", "contact")
_COLUMNS = (*_REQUIRED, "language", "topic", "hours", "channel", "source", "verified_at", "reviewed")


@commands.callback()
def _() -> None:
    """Look at the crisis resources, or read a table of your own."""


@commands.command()
def check(
    config: Annotated[
        Path | None,
        typer.Option(
            help="A settings file; without one, the table that comes with the package. Example: --config settings.yaml",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with status 1 where a row is listed.")] = False,
) -> None:
    """List the rows that nobody can vouch for: without a source, without its date, or with one of over a year ago."""
    try:
        table = of_settings(config) if config else shipped()
    except BadTable as error:
        fail(f"{config}: {error}.")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        fail(f"{config} is not YAML{f': line {mark.line + 1}' if mark else ''}.")
    except OSError as error:
        fail(f"{config}: {error.strerror}.")
    all_doubts = doubts(table, _today())
    for doubt in all_doubts:
        typer.echo(_line(doubt))
    rows = [row for rows in table.values() for row in rows]
    typer.echo(
        f"{len(all_doubts)} of {len(rows)} rows to look at; {sum(row.reviewed for row in rows)} are marked reviewed."
    )
    unread = [language for language, words in fixed_words.shipped().items() if not words.reviewed]
    if unread:
        typer.echo(f"No clinician has reviewed the package's fixed words in {', '.join(unread)}.")
    if strict and all_doubts:
        raise typer.Exit(1)


def _line(doubt: Doubt) -> str:
    row = doubt.row
    state = f"stale ({row.verified_at})" if doubt.reason == "stale" else f"unverified ({doubt.reason})"
    return printable(f"{row.locale}  {state}  {row.name}: {row.contact}  {row.source or ''}").rstrip()


@commands.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help=f"One row a line, in UTF-8, under the names of its columns: {', '.join(_COLUMNS)}. "
            "All but the first three may be missing. Example: resources.csv",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="A file that is not there yet; without it, the table is printed. Example: --output resources.yaml",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write policy.crisis.resources of a spreadsheet. For languages that it has no rows of, the package's are added."""
    try:
        table = _with_generic_rows(_read(file, _today()))
        text = yaml.safe_dump(_settings(table), allow_unicode=True, sort_keys=False, width=120)
        if output:
            with output.open("x", encoding="utf-8") as target:
                target.write(text)
    except BadTable as error:
        fail(f"{file}, {error}.")
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8: export it as “CSV UTF-8”.")
    except FileExistsError:
        fail(f"{output} already exists: name another file.")
    except OSError as error:
        fail(f"{error.filename or file}: {error.strerror}.")
    if not output:
        typer.echo(text, nl=False)
        return
    Console().print(
        f"Table written to {output}, for the policy branch of the settings. See what is left to look at with "
        f"`psychechat resources check --config {output}`.",
        markup=False,
        soft_wrap=True,
    )


def _read(file: Path, today: date) -> Table:
    """The file's rows by locale. Raises BadTable with the line."""
    table: dict[str, list[Resource]] = {}
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for number, fields in _fields(csv.DictReader(lines, strict=True)):
            try:
                row = Resource.model_validate(fields)
            except ValidationError as error:
                raise BadTable(f"line {number}: {complaint(error)}") from None
            if row.verified_at and row.verified_at > today:
                raise BadTable(f"line {number}: verified_at lies ahead")
            table.setdefault(row.locale, []).append(row)
    if not table:
        raise BadTable("line 1: there is no row below it")
    return {locale: tuple(rows) for locale, rows in table.items()}


def _fields(reader: "csv.DictReader[str]") -> Iterator[tuple[int, dict[str, Any]]]:
    """Of each line that is not blank: its number, and what its cells hold."""
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
        _check_columns(columns)
        reader.fieldnames = columns
        for cells in reader:
            if None in cells:
                raise BadTable(f"line {reader.line_num}: more cells than columns; put text with a comma in quotes")
            fields = {column: cell.strip() for column, cell in cells.items() if cell and cell.strip()}
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise BadTable(f"line {reader.line_num + 1}: not CSV ({error})") from None


def _check_columns(columns: list[str]) -> None:
    missing = [column for column in _REQUIRED if column not in columns]
    if missing:
        raise BadTable(f"line 1: there is no column {missing[0]}")
    unknown = [column for column in columns if column not in _COLUMNS]
    if unknown:
        raise BadTable(f"line 1: the column {printable(unknown[0])!r} is none of {', '.join(_COLUMNS)}")


def _with_generic_rows(table: Table) -> Table:
    """A seeker of whom no place is known has somewhere to turn to, too."""
    known = {place.casefold() for place in table}
    generic = (place for place in shipped() if "-" not in place or place == INTERNATIONAL)
    return {**table, **{place: shipped()[place] for place in generic if place not in known}}


def _settings(table: Table) -> dict[str, Any]:
    rows = {place: [_row(row) for row in rows] for place, rows in table.items()}
    return {"policy": {"crisis": {"resources": rows}}}


def _row(row: Resource) -> dict[str, Any]:
    """Its fields, but for those that say what is so without them."""
    fields = row.model_dump(exclude={"locale"}, exclude_defaults=True)
    if row.language == row.locale.partition("-")[0].casefold():
        del fields["language"]
    return fields | ({"channel": list(row.channel)} if "channel" in fields else {})


def _today() -> date:
    return datetime.now(UTC).date()
