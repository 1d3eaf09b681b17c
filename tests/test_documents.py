"""Links between the documents lead somewhere, and the paths they name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (".github", "docs", "helm", "kernels", "models/results", "serving")
DOCUMENTS = sorted(
    str(file.relative_to(ROOT))
    for file in (*ROOT.glob("*.md"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md")))
)
ROOTS = ("", "serving/psychechat", "deployments", "kernels", "tests")
"""Where a path in a document may begin."""
THEIRS = {"evaluation/model_response.py"}
"""In the checkout of PsychēChat's authors."""


def anchors(file: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", file.read_text("utf-8"), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_merge_was_left_half_done(document: str) -> None:
    assert not re.search(r"^(?:<<<<<<<|=======|>>>>>>>)(?: |$)", (ROOT / document).read_text("utf-8"), re.M)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    file = ROOT / document
    text = re.sub(r"```.*?```", "", file.read_text("utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{document}: {target}"
        assert not anchor or anchor in anchors(there), f"{document}: {target}"


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document != "CHANGELOG.md"])
def test_modules_that_are_named_are_there(document: str) -> None:
    """A module that moves takes its mentions with it. The changelog tells of what was."""
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|yaml|txt|json))[`:]", (ROOT / document).read_text("utf-8")):
        assert path in THEIRS or any((ROOT / root / path).exists() for root in ROOTS), f"{document}: {path}"
