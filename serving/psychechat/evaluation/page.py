"""The report of a run: one HTML file without scripts or anything from elsewhere, and without a word of anybody."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from psychechat.evaluation import plots, summary
from psychechat.evaluation.dialogue import Row
from psychechat.evaluation.figures import BETTER, Name
from psychechat.evaluation.intervals import Estimate
from psychechat.report.page import filled
from psychechat.report.plots import Plot, bars

Differences = Mapping[Name, Estimate | None]


def render(
    about: Mapping[str, Any],
    rows: Sequence[Row],
    counts: Mapping[str, Any],
    *,
    beside: Differences | None = None,
    baseline: str = "",
    broken: Sequence[str] | None = None,
) -> str:
    """`about`: the run's. `beside`: corrected differences from the run in the folder `baseline`. `broken`: limits;
    None where there were none.
    """
    estimates = summary.estimates(rows)
    return filled(
        files("psychechat.evaluation").joinpath("page.html").read_text("utf-8"),
        about=about,
        words=about.get("words", False),
        counts=counts,
        cards=len({row["card"] for row in rows}),
        broken=broken,
        baseline=baseline,
        both=max((one.cards for one in (beside or {}).values() if one), default=0),
        rows=list(_counted(counts)),
        by_card=list(_cards(rows)),
        plots={
            "corrected": plots.means("Four figures, corrected", estimates["corrected"]),
            "as_published": plots.means("Four figures, as published", estimates["as_published"]),
            "beside": plots.differences("Differences from the baseline", beside) if beside else None,
            "languages": list(_languages(rows)),
            "valence": plots.over_turns(
                "Valence over the turns",
                "The mean valence of the seekers' turns, from -9 to +9.",
                _by_turn(rows, "valence"),
                -9,
                9,
            ),
            "risk": plots.over_turns(
                "How replies sat",
                "How ill the last reply sat with the seekers, from 0 to 4.",
                _by_turn(rows, "risk"),
                0,
                4,
            ),
            "ways": bars("Mode and reason", "How many replies took which mode, and why.", counts["ways"])
            if counts["ways"]
            else None,
        },
    )


def _languages(rows: Sequence[Row]) -> Iterator[tuple[str, Plot]]:
    spoken = sorted({row["language"] for row in rows})
    for language in spoken if len(spoken) > 1 else ():
        estimates = summary.estimates([row for row in rows if row["language"] == language])
        yield language, plots.means(f"Four figures, corrected, {language}", estimates["corrected"])


def _by_turn(rows: Sequence[Row], name: str) -> list[list[float]]:
    """Of each turn, what the dialogues have under this name. Before the first reply nobody rated one."""
    whole = [row["turns"] for row in rows if row["end"] != "dropped"]
    turns = range(max(map(len, whole), default=0))
    first = 1 if name == "risk" else 0
    return [
        [one[turn][name] for one in whole if turn < len(one) and one[turn][name] is not None] if turn >= first else []
        for turn in turns
    ]


def _counted(counts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in counts.items():
        if isinstance(value, Mapping):
            told = ", ".join(f"{key}: {number}" for key, number in value.items()) or "none"
        else:
            told = "not told" if value is None else f"{value:,}"
        if name != "ways":
            yield name.replace("_", " "), told


def _cards(rows: Sequence[Row]) -> Iterator[tuple[object, ...]]:
    values = {name: summary.by_card(rows, "corrected", name) for name in BETTER}
    for card in dict.fromkeys(row["card"] for row in rows):
        of_card = [row for row in rows if row["card"] == card]
        dropped = sum(row["end"] == "dropped" for row in of_card)
        means = (values[name].get(card) for name in BETTER)
        yield (
            card,
            len(of_card) - dropped,
            dropped,
            *(f"{sum(mean) / len(mean):.2f}" if mean else "" for mean in means),
        )
