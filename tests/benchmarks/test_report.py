"""The figures and tables of the documents are what the newest results say, and only the newest are kept."""

import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.provenance import RESULTS


def test_the_document_is_what_the_results_say() -> None:
    assert report.DOCUMENT.read_text("utf-8") == report.document(), "run `python -m benchmarks.report`"


def test_the_readmes_figures_are_those_of_the_files() -> None:
    written = report.into(report.README, report.readme_figures(report.figures()))
    assert report.README.read_text("utf-8") == written, "run `python -m benchmarks.report`"


def test_the_clients_table_is_that_of_the_file() -> None:
    assert report.CLIENTS.read_text("utf-8") == report.into(report.CLIENTS, report.clients()), (
        "run `python -m benchmarks.report`"
    )


def test_the_readme_shows_eight_figures_of_one_number_each() -> None:
    """A stranger reads no cell with ten numbers in it."""
    figures = report.figures()
    assert [len(re.findall(r"\d[\d.,]*", figure.number)) for figure in figures] == [1] * 8
    assert max(len(figure.what) for figure in figures) < 100


def test_only_the_newest_of_each_kind_is_kept() -> None:
    kinds = Counter(file.name for file in RESULTS.glob("*/*"))
    assert [kind for kind, count in kinds.items() if count > 1] == [], "`git rm` the older ones"


def test_prose_that_was_written_for_another_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What explains a figure is wrong, or luck, once the figure is another one."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    for day in ("2026-01-01", "2026-02-01"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "soak.json").touch()
    assert report.run("soak", "2026-02-01").startswith("[soak.json](../2026-02-01/soak.json)")
    with pytest.raises(ValueError, match="explains the soak of 2026-01-01, and there is one of 2026-02-01"):
        report.run("soak", "2026-01-01")
    with pytest.raises(FileNotFoundError, match="no chaos"):
        report.run("chaos", "2026-02-01")


def test_the_readme_keeps_what_is_around_the_figures(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    assert report.into(readme, "| new |") == f"before\n{report.BEGIN}\n| new |\n{report.END}\nafter\n"
    readme.write_text("nothing\n")
    with pytest.raises(ValueError, match="needs the lines"):
        report.into(readme, "| new |")
