"""`psychechat prompts`: look at a prompt pack, or make one of the authors' prompts."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from psychechat import prompts
from psychechat.commands.console import fail, printable
from psychechat.conversation import (
    Conversation,
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    Reaction,
    ReactionType,
    Review,
    Round,
    StageInputs,
    Utterance,
    Verdict,
)
from psychechat.emotion import Label, Language
from psychechat.engines.base import StageName
from psychechat.engines.scripted import reading
from psychechat.prompts.importer import SETTINGS, PromptsNotFound, import_pack
from psychechat.prompts.pack import Pack, TemplateError

commands = typer.Typer(no_args_is_help=True, help="Look at prompt packs, or import the authors' prompts.")


@commands.command("import")
def import_(
    checkout: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A checkout of the authors' PsycheChat repository. Example: ../PsycheChat"),
    ],
    output: Annotated[
        Path, typer.Option(help="A folder that is not there yet, for the pack. Example: --output packs/published")
    ],
) -> None:
    """Make a pack for the published weights: reads the authors' prompts as text and executes nothing."""
    try:
        licences = import_pack(checkout, output)
    except (PromptsNotFound, FileExistsError) as error:
        fail(f"{error}.")
    except OSError as error:
        fail(f"{error.filename or output}: {error.strerror}.")
    console = Console(highlight=False)
    kept = f", with {' and '.join(licences)}" if licences else "; there is no licence beside it: find it"
    console.print(
        f"Pack written to {output}{kept}. See it with `psychechat prompts show --pack {output}`. These settings go "
        "with it, as in the configuration psychechat-8b:\n",
        markup=False,
        soft_wrap=True,
    )
    settings = {"packs": {"en": "en", "zh": str(output)}, **SETTINGS}
    console.print(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), markup=False, soft_wrap=True, end="")


@commands.command()
def copy(
    output: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder that is not there yet. Example: prompts/ours")
    ],
    pack: Annotated[str, typer.Option(help="A built-in pack (en, zh) or a pack's folder. Example: --pack zh")] = "en",
) -> None:
    """Begin a pack of your own: the words of another one, to change."""
    try:
        source = prompts.load(pack)
    except (OSError, ValueError, yaml.YAMLError):
        fail(f"{pack} is no prompt pack: `psychechat prompts show --pack {pack}` says why.")
    try:
        shutil.copytree(source.folder, output)
    except FileExistsError:
        fail(f"{output} already exists: name another folder.")
    except OSError as error:
        fail(f"{output}: {error.strerror}.")
    Console().print(
        f"Pack written to {output}. Change its words, see them with `psychechat prompts show --pack {output}`, and "
        f"name it under packs in the settings: {{{source.language}: {output}}}.",
        markup=False,
        soft_wrap=True,
    )


@commands.command()
def show(
    pack: Annotated[str, typer.Option(help="A built-in pack (en, zh) or a pack's folder. Example: --pack zh")] = "en",
) -> None:
    """Print the messages that each stage would send for a small made-up conversation."""
    console = Console(highlight=False)
    try:
        loaded = prompts.load(pack)
        for stage in StageName:
            _print(console, loaded, stage)
    except FileNotFoundError as error:
        fail(f"{error}.")
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        fail(f"{pack}: pack.yaml is not valid at {'.'.join(map(str, first['loc'])) or 'its top'}: {first['msg']}.")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        fail(f"{pack}: pack.yaml is not YAML{f': line {mark.line + 1}' if mark else ''}.")
    except TemplateError as error:
        fail(f"{pack}: a template cannot be rendered: {error}.")


def _print(console: Console, pack: Pack, stage: StageName) -> None:
    how = pack.stage(stage)
    traits = [
        pack.file.stages[stage].role,
        "thinks, then answers" if how.thinks else "answers",
        "in JSON" if how.schema else "in text",
    ]
    console.print(Rule(Text(f"{stage}: {' '.join(traits)}", style="bold")))
    for message in pack.messages(stage, _INPUTS[pack.language]):
        console.print(Text(message.role, style="bold cyan"))
        console.print(Text(printable(message.content)), soft_wrap=True)
    console.print()


def _inputs(
    language: Language,
    said: tuple[str, str, str],
    analyses: tuple[EmotionAnalysis, EmotionAnalysis],
    drafts: tuple[Draft, Draft],
    reactions: tuple[str, str, str],
    review: Review,
) -> StageInputs:
    first, answer, newest = said
    tried = tuple(Reaction(kind, words) for kind, words in zip(_KINDS, reactions, strict=True))
    return StageInputs(
        Conversation((Utterance("seeker", first), Utterance("counselor", answer), Utterance("seeker", newest))),
        reading((_WORRIED,), memory=EmotionMemory("example", language, analyses[0].labels, analyses[0])),
        analyses[1],
        (Round(drafts[0], tried, review),),
        drafts[1],
        tried,
    )


_KINDS: tuple[ReactionType, ...] = ("normal", "silent", "sentimental")
_WORRIED, _DOWN = Label.parse("worried"), Label.parse("down")

_INPUTS: Mapping[Language, StageInputs] = {
    "en": _inputs(
        "en",
        ("I start a new job on Monday.", "That is a big step. How do you feel about it?", "I lie awake over it."),
        (
            EmotionAnalysis((_WORRIED,), "The first day is near."),
            EmotionAnalysis(
                (_WORRIED, _DOWN), "The worry takes the nights.", "More worry.", "Slowly down.", "No rest."
            ),
        ),
        (
            Draft("exploration", "Reassure.", "Everyone is nervous, it will pass."),
            Draft("exploration", "Stay with the nights.", "Lying awake like that wears you out. What comes up then?"),
        ),
        ("That I will fail.", "…", "Nobody has asked me that."),
        Review(
            (Verdict("He goes on.", True), Verdict("He feels brushed off.", False), Verdict("He opens up.", True)),
            False,
            "Name the worry first.",
            "Ask how he sleeps.",
        ),
    ),
    "zh": _inputs(
        "zh",
        ("我下周一开始新工作。", "这是很大的一步。你对它有什么感觉？", "我为它整夜睡不着。"),
        (
            EmotionAnalysis((_WORRIED,), "第一天快到了。"),
            EmotionAnalysis((_WORRIED, _DOWN), "担心占去了夜晚。", "担心加重。", "慢慢低落。", "没有休息。"),
        ),
        (
            Draft("exploration", "安抚。", "谁都会紧张，过去就好了。"),
            Draft("exploration", "停留在夜晚。", "这样睡不着很耗人。那时你会想到什么？"),
        ),
        ("怕我做不好。", "……", "从来没有人这样问过我。"),
        Review(
            (Verdict("他会继续说。", True), Verdict("他觉得被敷衍。", False), Verdict("他会敞开。", True)),
            False,
            "先说出他的担心。",
            "问问他的睡眠。",
        ),
    ),
}
