"""Measure exported weights: `python -m models.counselor.evaluate`. Writes `models/results/counselor.json`.

Plain transformers, greedy, no grammar: what the weights do unaided. Prompts of the dev split of the bank and of the
exchanges: is each answer valid, and how surprising is the right one? Fixed messages, where every stage is fed the
model's own earlier stages as in a served turn. Fixed pairs of drafts, for the model's own review. What it writes to the
fixed messages, and sampled conversations with lines of the dev split, are kept to read.
"""

import argparse
import json
import math
import platform
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import LogitsProcessor, LogitsProcessorList, Qwen3ForCausalLM
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import architecture, card, packing
from models.counselor.bank_turns import Bank
from models.counselor.examples import Encoder, Example, Renderer, stream
from models.counselor.train import DEV_SEED, load
from models.readings import assessments
from psychechat import prompts
from psychechat.config.roles import LANGUAGES
from psychechat.conversation import Conversation, Draft, Reading, StageInputs, Utterance
from psychechat.demo.encoder import prepare
from psychechat.emotion import Group, Language
from psychechat.engines.base import StageName
from psychechat.engines.scripted import reading
from psychechat.language import detect
from psychechat.policy import Policy
from psychechat.prompts import answers

MESSAGES = architecture.ROOT / "tests" / "support" / "messages.txt"
DRAFTS = Path(__file__).with_name("fixed_drafts.txt")
LIMIT, BATCH = 400, 20
_PARSERS = {
    StageName.EMOTION.value: answers.parse_emotion,
    StageName.DRAFT.value: answers.parse_draft,
    StageName.SIMULATION.value: answers.parse_simulation,
    StageName.REVIEW.value: answers.parse_review,
}


class _Frequency(LogitsProcessor):
    """A token is the less likely the more often it was written after the prompt."""

    def __init__(self, penalty: float, start: int) -> None:
        self._penalty, self._start = penalty, start

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        written = input_ids[:, self._start :]
        counts = torch.zeros_like(scores).scatter_add_(1, written, torch.ones(written.shape))
        return cast(torch.FloatTensor, scores - self._penalty * counts)


@dataclass
class Model:
    weights: Qwen3ForCausalLM
    tokenizer: TokenizersBackend
    render: Renderer
    temperature: float = 0.0
    penalty: float = 0.0
    """vLLM's `frequency_penalty`."""

    def write(self, asked: Sequence[tuple[Language, StageName, StageInputs]]) -> list[tuple[str, bool]]:
        """What the model writes to each, and whether it stopped by itself."""
        return self.go_on([self.render.prompt(*one) for one in asked])

    def go_on(self, prompts: Sequence[str]) -> list[tuple[str, bool]]:
        return [one for start in range(0, len(prompts), BATCH) for one in self._batch(prompts[start : start + BATCH])]

    def _batch(self, prompts: Sequence[str]) -> Iterator[tuple[str, bool]]:
        given = self.tokenizer(
            list(prompts), return_tensors="pt", add_special_tokens=False, padding=True, padding_side="left"
        )
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if self.temperature:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_p": 1.0, "top_k": 0}
        start = given["input_ids"].shape[1]
        if self.penalty:
            sampling["logits_processor"] = LogitsProcessorList([_Frequency(self.penalty, start)])
        weights: Any = self.weights
        with torch.no_grad():
            whole = weights.generate(**given, max_new_tokens=LIMIT, **sampling).tolist()
        for ids in whole:
            new = ids[start:]
            text = self.tokenizer.decode(new, skip_special_tokens=True)
            assert isinstance(text, str)
            yield text, self.tokenizer.eos_token_id in new


# Prompts of the dev split.


def on_dev(model: Model, count: int) -> dict[str, Any]:
    """On `count` prompts for each stage and language: perplexity of the right answers, validity of its own."""
    held = _dev_examples(model.render, count)
    report: dict[str, Any] = {}
    for language in LANGUAGES:
        ours = {stage.value: held[language, stage.value] for stage in StageName}
        report[language] = {
            "prompts": sum(map(len, ours.values())),
            "perplexity": perplexity(model, [example for examples in ours.values() for example in examples]),
            "valid without grammar": {
                stage: _share(
                    [
                        stopped and well_formed(stage, text)
                        for text, stopped in model.go_on(["".join(example.chunks) for example in examples])
                    ]
                )
                for stage, examples in ours.items()
            },
        }
    return report


def _dev_examples(render: Renderer, count: int) -> dict[tuple[Language, str], list[Example]]:
    held: dict[tuple[Language, str], list[Example]] = {
        (language, stage.value): [] for language in LANGUAGES for stage in StageName
    }
    for examples in stream(render, DEV_SEED, Bank.unlabelled("dev"), split="dev"):
        for example in examples:
            if len(known := held[example.language, example.stage]) < count:
                known.append(example)
        if all(len(known) == count for known in held.values()):
            break
    return held


def perplexity(model: Model, examples: Sequence[Example]) -> float:
    """Of the answers, per token."""
    encode, losses = Encoder(model.tokenizer), list[float]()
    model.weights.set_attn_implementation(packing.NAME)
    with torch.no_grad():
        for start in range(0, len(examples), BATCH):
            row = packing.pack(examples[start : start + BATCH], encode)
            scores = packing.logits(model.weights, row)
            losses += cross_entropy(scores, torch.tensor(row.targets), reduction="none").tolist()
    model.weights.set_attn_implementation("sdpa")
    return round(math.exp(math.fsum(losses) / len(losses)), 3)


def well_formed(stage: str, text: str) -> bool:
    if stage == StageName.REPLY:
        thought, closed, reply = text.partition("</think>")
        return bool(closed and reply.strip() and thought.startswith("<think>") and len(thought.split("\n")) == 6)
    try:
        _PARSERS[stage](text)
    except ValueError:
        return False
    return True


# Turns on fixed messages.


@dataclass
class Turn:
    """One seeker message through both modes."""

    message: str
    written: dict[str, str] = field(default_factory=dict)
    valid: dict[str, bool] = field(default_factory=dict)
    thought: str = ""
    reply: str = ""
    stopped: bool = False


def lines(file: Path) -> Iterator[tuple[Language, list[str]]]:
    """The lines of a file in two parts, `# en` and `# zh`, each cut at its bars."""
    language: Language = "en"
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            language = "zh" if "zh" in line else "en"
        elif line:
            yield language, [part.strip() for part in line.split("|")]


def take(model: Model, said: Sequence[tuple[Language, StageInputs]]) -> list[Turn]:
    """Both modes, all turns side by side. A stage is asked only where the one before it is valid."""
    turns = answer(model, said)
    inputs = {i: given for i, (_, given) in enumerate(said)}
    for stage, name in (
        (StageName.EMOTION, "analysis"),
        (StageName.DRAFT, "draft"),
        (StageName.SIMULATION, "reactions"),
        (StageName.REVIEW, ""),
    ):
        written = model.write([(said[i][0], stage, given) for i, given in inputs.items()])
        for i, (text, stopped) in zip(list(inputs), written, strict=True):
            turns[i].written[stage.value] = text
            turns[i].valid[stage.value] = stopped and well_formed(stage.value, text)
            given = inputs.pop(i)
            if turns[i].valid[stage.value]:
                value: Any = _PARSERS[stage.value](text)
                inputs[i] = replace(given, **{name: value}) if name else given
    return turns


def answer(model: Model, said: Sequence[tuple[Language, StageInputs]]) -> list[Turn]:
    """LLM Mode: one generation each."""
    turns = []
    written = model.write([(language, StageName.REPLY, given) for language, given in said])
    for (_, given), (text, stopped) in zip(said, written, strict=True):
        thought, _, reply = text.partition("</think>")
        thought = thought.removeprefix("<think>").strip()
        valid = {"reply": well_formed("reply", text)}
        turns.append(Turn(given.conversation.newest, {}, valid, thought, reply.strip(), stopped))
    return turns


def replies(turns: Sequence[Turn], language: Language) -> dict[str, float]:
    """Shares of the turns whose LLM Mode reply has each property."""
    return {
        "stops by itself": _share([turn.stopped and bool(turn.reply) for turn in turns]),
        "in the seeker's language": _share([detect(turn.reply) == language for turn in turns]),
        "no repeated 4-gram": _share([not repeats(turn.reply, language) for turn in turns]),
        "one question at most": _share([len(re.findall("[?？]", turn.reply)) <= 1 for turn in turns]),
    }


def repeats(text: str, language: Language) -> bool:
    """Whether any 4-gram (of words in English, of characters in Chinese) occurs twice."""
    units = re.findall(r"[\w']+", text.lower()) if language == "en" else re.findall(r"[\u4e00-\u9fff]", text)
    grams = [tuple(units[i : i + 4]) for i in range(len(units) - 3)]
    return len(grams) != len(set(grams))


def on_messages(model: Model) -> dict[str, Any]:
    asked = [(language, message, groups.split()) for language, (message, groups) in lines(MESSAGES)]
    heard = _heard([message for _, message, _ in asked])
    given = [
        (language, StageInputs(_said(message), found))
        for (language, message, _), found in zip(asked, heard, strict=True)
    ]
    taken = take(model, given)
    report: dict[str, Any] = {"messages": len(asked)}
    for language in LANGUAGES:
        told = [(turn, groups) for turn, (spoken, _, groups) in zip(taken, asked, strict=True) if spoken == language]
        turns = [turn for turn, _ in told]
        report[language] = {
            "replies": replies(turns, language),
            "valid without grammar": {
                stage.value: _share([turn.valid.get(stage.value, False) for turn in turns]) for stage in StageName
            },
            "first emotion is a fair reading": _share(
                [_first_group(turn) in list(map(Group, fair)) for turn, fair in told]
            ),
        }
    report["written"] = [
        {
            "seeker": turn.message,
            "found": [label.name() for label in found.labels or ()],
            "act": found.act,
            "thought": turn.thought,
            "reply": turn.reply,
            **turn.written,
        }
        for turn, found in zip(taken, heard, strict=True)
    ]
    return report


def _first_group(turn: Turn) -> Group | None:
    return answers.parse_emotion(turn.written["emotion"]).labels[0].group if turn.valid["emotion"] else None


def _heard(texts: Sequence[str]) -> list[Reading]:
    """What the demo classifier finds in each, for the stages that are told it."""
    policy = Policy()
    return [
        reading(
            [emotion.label for emotion in found.emotions(policy.emotion_thresholds.by_group)],
            found.severity(policy.risk.by_severity),
            act=found.act,
        )
        for found in assessments(prepare(architecture.RUNS / "encoder"), texts)
    ]


def _said(message: str) -> Conversation:
    return Conversation((Utterance("seeker", message),))


# Pairs of drafts.


def on_drafts(model: Model) -> dict[str, Any]:
    """Bad drafts that the model's own simulation and review refuse, kind ones that pass, and pairs where both hold."""
    pairs = list(lines(DRAFTS))
    verdicts = [_verdicts(model, [(language, said[0], said[which]) for language, said in pairs]) for which in (1, 2)]
    report: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (language, _), bad, kind in zip(pairs, *verdicts, strict=True):
        refused, passed = bad is False, kind is True
        for part in (language, "all"):
            report[part].update({"pairs": 1, "bad refused": refused, "kind passed": passed, "both": refused and passed})
    return dict(report)


def _verdicts(model: Model, drafts: Sequence[tuple[Language, str, str]]) -> list[bool | None]:
    """For each message and draft the verdict of the model's own review, None if it has no valid one."""
    verdicts: list[bool | None] = [None] * len(drafts)
    inputs = [StageInputs(_said(said), reading(), draft=Draft("exploration", "", text)) for _, said, text in drafts]
    written = model.write([(one[0], StageName.SIMULATION, given) for one, given in zip(drafts, inputs, strict=True)])
    tried = {
        i: replace(inputs[i], reactions=answers.parse_simulation(text))
        for i, (text, _) in enumerate(written)
        if well_formed(StageName.SIMULATION, text)
    }
    written = model.write([(drafts[i][0], StageName.REVIEW, given) for i, given in tried.items()])
    for i, (text, _) in zip(tried, written, strict=True):
        if well_formed(StageName.REVIEW, text):
            verdicts[i] = answers.parse_review(text).passed
    return verdicts


# Conversations to read.


def converse(model: Model, count: int) -> str:
    """Conversations in LLM Mode, sampled as the server samples. The seekers say lines of the dev split."""
    served = prompts.load("en").sampling(StageName.REPLY)
    model.temperature, model.penalty = served.temperature, served.frequency_penalty
    page = [
        f"# {2 * count} sampled conversations\n\n"
        "Made by `python -m models.counselor.evaluate`: LLM Mode as the server samples, temperature "
        f"{served.temperature}, frequency penalty {served.frequency_penalty}. The seekers' lines are of the bank's dev "
        "split; they do not answer what nano says. In italics: what it thought first.\n"
    ]
    bank, rng = Bank.unlabelled("dev"), random.Random(DEV_SEED)
    told = [(language, bank.conversation(rng, language)) for language in LANGUAGES for _ in range(count)]
    heard = iter(_heard([turn.conversation.newest for _, turns in told for turn in turns]))
    for number, (language, turns) in enumerate(told, start=1):
        page.append(f"\n## {number} ({language})\n")
        said: list[Utterance] = []
        for turn in turns:
            said.append(Utterance("seeker", turn.conversation.newest))
            given = StageInputs(Conversation(tuple(said)), next(heard))
            answered = answer(model, [(language, given)])[0]
            said.append(Utterance("counselor", answered.reply or "…"))
            thought = answered.thought.replace("\n", " / ")
            page.append(f"**Seeker:** {answered.message}\n\n*{thought}*\n\n**nano:** {answered.reply}\n")
    return "\n".join(page)


def _share(found: Sequence[bool]) -> float:
    return round(sum(found) / max(1, len(found)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=architecture.WEIGHTS)
    parser.add_argument("--to", type=Path, default=architecture.RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=30, help="dev prompts for each stage and language")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    weights, tokenizer = load(options.weights)
    model = Model(weights, tokenizer, Renderer(tokenizer))
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        card.DRAFTS: lambda: on_drafts(model),
        card.MESSAGES: lambda: on_messages(model),
        card.DEV: lambda: on_dev(model, options.prompts),
    }
    began, report = time.monotonic(), dict[str, Any]()
    for name, measure in parts.items():
        report[name] = measure()
        print(name, {key: value for key, value in report[name].items() if key != "written"}, flush=True)
    report["made with"] = {
        "command": "python -m models.counselor.evaluate",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "seconds": round(time.monotonic() - began),
    }
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    page = options.to.with_name(f"{options.to.stem}_conversations.md")
    page.write_text(converse(model, 10), encoding="utf-8")
    if options.to == architecture.RESULTS:
        card.write(options.weights)


if __name__ == "__main__":
    main()
