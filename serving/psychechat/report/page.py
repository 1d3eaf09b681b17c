"""The page: one file without scripts, fonts or images from elsewhere."""

from collections.abc import Mapping
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined

from psychechat.report import plots
from psychechat.report.tally import KEPT, MOST_TURNS, Tally
from psychechat.risk import Severity


def render(tally: Tally, name: str, *, texts: bool = False) -> str:
    """`name`: of what was read, for the heading. `texts`: whether what was said is shown."""
    return filled(
        _text("page.html"),
        name=name,
        tally=tally,
        texts=texts,
        most_turns=MOST_TURNS,
        kept=KEPT,
        corpus=_corpus(tally),
        conversations=[
            (one, (plots.valence(one.turns), plots.risk(one.turns), plots.groups(one.turns))) for one in tally.drawn
        ],
    )


def filled(template: str, **values: object) -> str:
    """A page of this template, which may import `draw`, `numbers` and `head` from `shapes.html`, with context."""
    environment = Environment(
        loader=DictLoader({"shapes.html": _text("shapes.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(template).render(width=plots.WIDTH, **values)


def _text(name: str) -> str:
    return files("psychechat.report").joinpath(name).read_text("utf-8")


def _corpus(tally: Tally) -> list[plots.Plot]:
    drawn = [
        plots.bars("Risk", "How many turns have which severity.", _by_severity(tally)),
        plots.columns("Valence", "How many turns have which valence, from -9 to +9.", tally.valences),
        plots.bars("Emotions", "How often each emotion was found; a turn has up to three.", _most(tally.labels)),
    ]
    if tally.replies:
        ways = {f"{mode}, {reason.replace('_', ' ')}": n for (mode, reason), n in tally.ways.most_common()}
        drawn.append(plots.bars("Mode and reason", "How many replies took which mode, and why.", ways))
    return drawn


def _by_severity(tally: Tally) -> Mapping[str, int]:
    counts = {severity.label: tally.levels[severity] for severity in Severity}
    return counts | ({"unknown": tally.levels[None]} if tally.levels[None] else {})


def _most(counts: Mapping[str, int]) -> Mapping[str, int]:
    return dict(sorted(counts.items(), key=lambda each: -each[1]))
