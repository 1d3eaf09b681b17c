"""The model card, written beside the weights from what training and evaluation left behind."""

import json
from pathlib import Path
from typing import Any

from models import written
from models.counselor import architecture, felt

DEV, MESSAGES, DRAFTS = "dev prompts", "greedy", "drafts under review"
"""Parts of the report that `evaluate` writes."""

_HEAD = """---
license: apache-2.0
language: [en, zh]
pipeline_tag: text-generation
---

# nano: the demo counselor

A Qwen3-architecture model of {millions} million parameters, trained from nothing on two CPU cores for this project. It
exists so that the server can be tried offline and tested end to end: it answers every stage of a counselling turn in
the stage's format, in English or Chinese, with short, plain sentences that are right without any detail.

**A demonstration, not for care.** It repeats what it was taught; it understands nothing, knows nobody, and must not
be offered to anyone in need. It assesses and diagnoses nothing. What it was taught to write about risk takes it
seriously, asks about it or points to people nearby, and names no number.

**In the demo it chooses.** `reply_banks` gives it up to six replies for each turn, written beforehand, and a grammar
holds it to them ([reply banks](../../../../docs/reply-banks.md)). What follows is about nano by itself, as other
configurations ask it.

## What it was trained on
"""

_FIRST = """
**First, the stages' formats**, from templates: synthetic dialogues by a seeded generator, and its answers to first
messages of public sets, whose other words were drafts to judge. So it learned to say the same to everybody, and the
generator was removed ([decision 0034](../../../../docs/decisions/0034-data-is-written.md)); it is in the repository's
history at 6ef92e2, with the weights of then (3,771 steps, 95 minutes).

| Set | Used for | Licence | Attribution |
|---|---|---|---|
| SmileChat | openings, drafts (zh) | CC0-1.0 | Qiu et al., EMNLP Findings 2024 |
| CPsyCounD | openings, drafts (zh) | CC BY 4.0 | Zhang et al., ACL Findings 2024 |
| GoEmotions | openings, drafts, emotion labels (en) | CC BY 4.0 | Demszky et al., ACL 2020 |
| BRIGHTER | openings (en), drafts (zh), emotion labels | CC BY 4.0 | Muhammad et al., 2025, arXiv 2502.11926 |
| CounselChat | sentences of questions, drafts (en) | MIT | Bertagnolli, 2020 |
"""

_SECOND = """
**{then} what it answers**, from what was written for this project line by line (`models/data`, Apache-2.0; by language
models in the part of several writers, no real person's words): replies that are right for anything that somebody says
who feels so, {replies} for each group of emotions, for a hint of danger, for a crisis, where nothing is known, and for
each dialogue act (a greeting, thanks, a goodbye, small talk, a question for advice, anger at the counselor). How a line
feels, the demo classifier says, in training as in a served turn, where it tells the act as well. The lines are those of
a bank of {situations} situations, whose own replies are drafts to review, messages written for the acts, our English
exchanges, and public dialogues, whose answers are not learned from. Beside them general words for the other stages, and
exchanges with reactions and reviews:

| Set | Used for | Licence | Attribution |
|---|---|---|---|
| SmileChat | seekers' lines (zh) | CC0-1.0 | Qiu et al., EMNLP Findings 2024 |
| CPsyCounD | seekers' lines (zh) | CC BY 4.0 | Zhang et al., ACL Findings 2024 |

Public texts with long numbers, links, contact data or words about suicide, violence or sex were left out. The SmileChat
dialogues were rewritten by a language model from PsyQA questions, which are handed out under a user agreement.

## How to make it again

```
python -m models.counselor.situations --no-find  # needs the two sets
python -m models.counselor.train --minutes {budget}{fresh} --threads 2
python -m models.counselor.evaluate  # models/results/counselor.json and the figures below
```

Training {start}.
It can be resumed, and exports the weights at its end.
The seed fixes the order of the conversations; how many steps fit into the minutes depends on the machine.

## Measured
"""


def write(folder: Path) -> None:
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    fresh = training.get("fresh", False)
    text = _HEAD.format(millions=round(training["parameters"] / 1e6, 1)) + ("" if fresh else _FIRST)
    text += _SECOND.format(
        then="The stages' formats and" if fresh else "Then",
        replies=felt.MOST,
        situations=training.get("situations", len(written.situations())),
        budget=round(training["minutes"]),
        fresh=" --fresh" if fresh else "",
        start="starts from nothing"
        if fresh
        else "goes on from the weights in the folder: here those of 7bbf986, which were not told the dialogue act "
        "(9,833 steps in 58 minutes, after those of the templates). `--fresh` starts from nothing",
    )
    text += (
        f"\nTraining{'' if fresh else ', third part'}: {training['steps']:,} steps, {training['tokens']:,} tokens "
        f"(shared prefixes counted once), {training['minutes']} minutes on two CPU cores, seed {training['seed']}.\n"
        "Loss per token on conversations of the dev split:\n\n| | en | zh |\n|---|---|---|\n"
    )
    losses: dict[str, float] = training["dev_loss"]
    for stage in dict.fromkeys(kind.split("/")[1] for kind in losses):
        cells = (
            f"{losses[f'{language}/{stage}']:.2f}" if f"{language}/{stage}" in losses else ""
            for language in ("en", "zh")
        )
        text += f"| {stage} | {' | '.join(cells)} |\n"
    if architecture.RESULTS.exists() and folder == architecture.WEIGHTS:
        report = json.loads(architecture.RESULTS.read_text(encoding="utf-8"))
        if DEV in report:  # none of an earlier version
            text += _measured(report)
    (folder / "README.md").write_text(text + _WEAK, encoding="utf-8")


def _measured(report: dict[str, Any]) -> str:
    dev, greedy, drafts = report[DEV], report[MESSAGES], report[DRAFTS]["all"]
    head = "\n\n| | en | zh |\n|---|---|---|\n"
    text = f"\nUnaided: greedy, no grammar, plain transformers. Prompts of the dev split:{head}"
    text += _row("perplexity of an answer's token", dev, "perplexity", "{:.2f}")
    text += _rows("valid {}", dev, "valid without grammar")
    text += f"\nTwenty fixed messages a language (`tests/support/messages.txt`), fed its own earlier stages:{head}"
    text += _row("first emotion is a fair reading", greedy, "first emotion is a fair reading")
    text += _rows("valid {}", greedy, "valid without grammar") + _rows("reply: {}", greedy, "replies")
    return text + (
        f"\nOf {drafts['pairs']} pairs of a hurting and a kind draft (`models/counselor/fixed_drafts.txt`) its own "
        f"review refuses {drafts['bad refused']} hurting ones and passes {drafts['kind passed']} kind ones; "
        f"both in {drafts['both']}.\n"
    )


def _row(title: str, found: dict[str, Any], name: str, form: str = "{:.0%}") -> str:
    return f"| {title} | {form.format(found['en'][name])} | {form.format(found['zh'][name])} |\n"


def _rows(title: str, found: dict[str, Any], part: str) -> str:
    both = {language: found[language][part] for language in ("en", "zh")}
    return "".join(_row(title.format(name), both, name) for name in both["en"])


_WEAK = """
**Weak: it does not read emotions by itself.** What it says of a feeling it has from the line in which the server tells
it what the classifier found, with the classifier's errors.

**Weak: it knows no detail.** Its replies are right for how somebody feels, not for what they say: they name nothing,
and answer no question. Where the classifier mistakes the feeling, the reply is for another one.

**Weak: it was tried on what it knows.** The prompts above are of the kind that it learned from. In the server a grammar
holds the JSON stages all the same, and what is no reply is asked for again.

**Weak: it always thinks before a reply.** Where `enable_thinking` is false its chat template therefore begins the
thinking with fixed lines, which the model closes before it replies.

**Weak: risk.** Nothing holds it to answer talk of wanting to die as such. In the server the crisis path does not depend
on it.

Earlier trainings that were not shipped: `models/results/counselor_tried.json`. Not quantised: bf16 is 13 MB and is read
by the same code as any other checkpoint.
"""
