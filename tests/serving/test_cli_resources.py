"""`psychechat resources`: what is listed, what a spreadsheet becomes, and errors that name the line."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from psychechat.cli import commands
from psychechat.help.resources import find, parse, shipped

TODAY = datetime.now(UTC).date()
HEADER = "locale,name,contact,topic,hours,channel,source,verified_at,reviewed\n"
GOOD = f"en-AU,Line,call 1,suicide,24/7,call text,https://example.org/help,{TODAY},yes\n"


def resources(*args: str) -> Result:
    return CliRunner().invoke(commands, ["resources", *args], env={"COLUMNS": "200"})


def settings(path: Path, table: object) -> str:
    file = path / "settings.yaml"
    file.write_text(yaml.safe_dump({"host": "127.0.0.1", "policy": {"crisis": {"resources": table}}}), "utf-8")
    return str(file)


def test_check_lists_every_row_of_ours_that_is_unverified_or_stale() -> None:
    result = resources("check")
    assert result.exit_code == 0
    assert "en-GB  unverified (no date)  Samaritans: call 116 123  https://www.samaritans.org/" in result.stdout
    assert "en-ZA  stale (2019-02-12)  SADAG suicide crisis line: call 0800 567 567" in result.stdout
    assert "your local emergency number" not in result.stdout
    assert "0 are marked reviewed." in result.stdout
    assert "No clinician has reviewed the package's fixed words in en, zh, es, de, fr, ja." in result.stdout
    assert resources("check", "--strict").exit_code == 1


def test_check_looks_at_the_table_of_a_settings_file_of_either_form(tmp_path: Path) -> None:
    old = {"en": [{"name": "Line", "contact": "call 1"}, {"name": "Emergency", "contact": "your local number"}]}
    result = resources("check", "--config", settings(tmp_path, old))
    assert "en  unverified (no source)  Line: call 1\n1 of 2 rows to look at" in result.stdout
    page = {"source": "https://example.org/help", "verified_at": TODAY - timedelta(days=400)}
    result = resources("check", "--config", settings(tmp_path, {"en": [{"name": "Line", "contact": "1", **page}]}))
    assert f"en  stale ({page['verified_at']})  Line: 1  https://example.org/help" in result.stdout
    fresh = {"en": [{"name": "Line", "contact": "1", **page, "verified_at": TODAY, "reviewed": True}]}
    result = resources("check", "--strict", "--config", settings(tmp_path, fresh))
    assert result.exit_code == 0
    assert "0 of 1 rows to look at; 1 are marked reviewed." in result.stdout


def test_check_takes_our_table_where_a_settings_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("host: 127.0.0.1\n")
    result = resources("check", "--config", str(tmp_path / "settings.yaml"))
    assert result.stdout == resources("check").stdout


def test_check_explains_a_file_that_is_not_right(tmp_path: Path) -> None:
    result = resources("check", "--config", settings(tmp_path, {"en": [{"name": "Line"}]}))
    assert (result.exit_code, "en, row 1: contact is missing" in result.stderr) == (1, True)
    (tmp_path / "settings.yaml").write_text("policy: [")
    assert "is not YAML: line 1" in resources("check", "--config", str(tmp_path / "settings.yaml")).stderr
    assert "No such file" in resources("check", "--config", str(tmp_path / "none.yaml")).stderr


def test_import_writes_a_branch_of_the_settings(tmp_path: Path) -> None:
    file, output = tmp_path / "own.csv", tmp_path / "own.yaml"
    file.write_text(
        HEADER + GOOD + "\nde-DE,„Linie, die hilft“,2 anrufen,,,,,,\n".replace("„", '"„').replace("“,", '“",')
    )
    result = resources("import", str(file), "--output", str(output))
    assert result.exit_code == 0, result.output
    assert f"resources check --config {output}" in result.stdout
    written = yaml.safe_load(output.read_text("utf-8"))["policy"]["crisis"]["resources"]
    [row] = written["en-AU"]
    assert [{**row, "verified_at": str(row["verified_at"])}] == [  # YAML has dates, and readers that leave them text
        {
            "name": "Line",
            "contact": "call 1",
            "topic": "suicide",
            "hours": "24/7",
            "channel": ["call", "text"],
            "source": "https://example.org/help",
            "verified_at": str(TODAY),
            "reviewed": True,
        }
    ]
    assert written["de-DE"] == [{"name": "„Linie, die hilft“", "contact": "2 anrufen"}]
    table = parse(written)
    assert find(table, "en-AU", "en").rows[0].language == "en"
    assert find(table, "es-ES", "es").rows == shipped()["es"]  # a language of which it has no rows
    assert set(written) == {"en-AU", "de-DE", "intl", "en", "zh", "es", "de", "fr", "ja"}
    assert "1 are marked reviewed" in resources("check", "--config", str(output)).stdout
    again = resources("import", str(file), "--output", str(output))
    assert (again.exit_code, "already exists: name another file" in again.stderr) == (1, True)


def test_import_prints_the_table_where_no_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("locale,name,contact\nen,Ours,call 1\n", encoding="utf-8-sig")  # as spreadsheets write it
    result = resources("import", str(file))
    assert yaml.safe_load(result.stdout)["policy"]["crisis"]["resources"]["en"] == [
        {"name": "Ours", "contact": "call 1"}
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: there is no column locale"),
        ("name,contact\n", "line 1: there is no column locale"),
        ("locale,name,contact,phone\n", "line 1: the column 'phone' is none of locale, name, contact, language"),
        (HEADER, "line 1: there is no row below it"),
        (HEADER + GOOD + "en,Line\n", "line 3: contact is missing"),
        (HEADER + "en,Line,call 1, or 2,suicide,,,,,,\n", "line 2: more cells than columns; put text with a comma in"),
        (HEADER + "en,Line,call 1,advice,,,,,\n", "line 2: topic is none of suicide, listening, emergency"),
        (HEADER + "\n\n" + "en,Line,call 1,,,fax,,,\n", "line 4: channel is none of call, text, chat, web"),
        (HEADER + "en,Line,call 1,,,,a leaflet,,\n", "line 2: source is no web address"),
        (HEADER + "en,Line,call 1,,,,,2026-01-01,\n", "line 2: verified_at is the date of a source"),
        (HEADER + "en,Line,call 1,,,,https://a.org/,01/02/2026,\n", "line 2: verified_at is no date"),
        (HEADER + f"en,Line,call 1,,,,https://a.org/,{TODAY + timedelta(2)},\n", "line 2: verified_at lies ahead"),
        (HEADER + "en,Line,call 1,,,,,,perhaps\n", "line 2: reviewed is neither true nor false"),
        (HEADER + 'en,"Line,call 1\n', "line 2: not CSV"),
    ],
)
def test_import_names_the_line_that_is_wrong_and_writes_nothing(tmp_path: Path, text: str, complaint: str) -> None:
    file, output = tmp_path / "own.csv", tmp_path / "own.yaml"
    file.write_text(text)
    result = resources("import", str(file), "--output", str(output))
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert not output.exists()


def test_import_explains_a_file_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(HEADER.encode() + "de,Hilfe für dich,1\n".encode("latin-1"))
    assert "is not UTF-8" in resources("import", str(tmp_path / "own.csv")).stderr
    assert "No such file" in resources("import", str(tmp_path / "none.csv")).stderr
