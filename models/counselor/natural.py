"""What seekers say in public dialogues, to be labelled and read by the models, never written.

SmileChat and CPsyCoun, from the folder of prepared data sets (`shared/data` beside the repository).
"""

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.counselor.architecture import ROOT
from models.written import Split

DATA = Path(os.environ.get("PSYCHECHAT_DATA", ROOT.parent / "shared" / "data"))
SHORTEST, LONGEST = 6, 90
"""Characters of a line."""

UNWANTED = re.compile(
    r"\d{4,}|https?:|www\.|@|\[|热线|电话号|微信|公众号|咨询师|答主|题主|楼主|"
    r"suicid|kill|\bdie|\bdead|death|overdose|cutting|rape|sex|porn|fuck|shit|bitch|nigg|cunt|dick|hotline|"
    r"自杀|自残|割腕|轻生|跳楼|去死|想死|不想活|性侵|强奸|强暴|做爱|出轨对象",
    re.IGNORECASE,
)
"""Contact data, talk about the medium, and what belongs to the crisis path, of which the written lines speak."""


def available() -> bool:
    return (DATA / "smilechat").is_dir()


def seekers(split: Split) -> Iterator[str]:
    """The beginnings of what seekers say in the first turns, Chinese. Raises FileNotFoundError without the sets."""
    for name in (f"cpsycoun/{split}", f"smilechat/{split}"):
        for row in _rows(name):
            for turn in row["turns"][:6]:
                text = _short(turn["text"]) if turn["role"] == "seeker" else ""
                if len(text) >= SHORTEST and not UNWANTED.search(text):
                    yield text


def _rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _short(text: str) -> str:
    """The first sentences that fit; empty if not even one does."""
    kept = ""
    for sentence in re.findall(r"[^。！？!?\n]+[。！？!?]?", text.replace(" ", "")):
        if len(kept) + len(sentence) > LONGEST:
            break
        kept += sentence
    return kept
