"""Measure exported weights: `python -m models.counselor.evaluate`. Writes `models/results/counselor.json`.

Plain transformers, greedy, no grammar: what the weights do unaided. Every stage is fed the model's own earlier stages,
as in a served turn; if one does not parse, the turn ends there and the later stages count as not valid.
"""

import argparse
import json
import platform
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import architecture, card
from models.counselor.corpus.story import repeats
from models.counselor.examples import Renderer
from models.counselor.train import load
from psychechat.conversation import Conversation, Draft, EmotionMemory, Utterance
from psychechat.emotion import Language
from psychechat.engines.base import StageName
from psychechat.language import detect
from psychechat.pipeline import answers
from psychechat.pipeline.packs import Brief
from psychechat.risk import Severity

HERE = Path(__file__).parent
LIMIT = 400
_PLAIN = frozenset(
    re.findall(
        "[a-z]+",
        "the and you your that this with what when have has had was were are about for not but from they them then "
        "there would could should will just like very much more than some been being over into how who why because "
        "after before again every",
    )
)


@dataclass
class Model:
    weights: Any
    tokenizer: TokenizersBackend
    render: Renderer
    temperature: float = 0.0

    def write(self, language: Language, stage: StageName, brief: Brief) -> tuple[str, bool]:
        """What the model writes, and whether it stopped by itself."""
        prompt = self.tokenizer(
            self.render.prompt(language, stage, brief), return_tensors="pt", add_special_tokens=False
        )
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if self.temperature:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_p": 1.0, "top_k": 0}
        with torch.no_grad():
            whole = self.weights.generate(**prompt, max_new_tokens=LIMIT, **sampling)[0].tolist()
        new = whole[prompt["input_ids"].shape[1] :]
        stopped = bool(new) and new[-1] == self.tokenizer.eos_token_id
        text = self.tokenizer.decode(new, skip_special_tokens=True)
        assert isinstance(text, str)
        return text, stopped


@dataclass
class Turn:
    """One seeker message through both modes."""

    message: str
    written: dict[str, str] = field(default_factory=dict)
    valid: dict[str, bool] = field(default_factory=dict)
    thought: str = ""
    reply: str = ""
    stopped: bool = False


def lines(name: str) -> Iterator[tuple[Language, str]]:
    language: Language = "en"
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            language = "zh" if "zh" in line else "en"
        elif line:
            yield language, line


def take(model: Model, language: Language, conversation: Conversation, memory: EmotionMemory | None = None) -> Turn:
    turn = Turn(conversation.newest)
    text, turn.stopped = model.write(language, StageName.REPLY, Brief(conversation, memory))
    thought, closed, reply = text.partition("</think>")
    turn.thought, turn.reply = thought.removeprefix("<think>").strip(), reply.strip()
    turn.valid["reply"] = bool(closed and thought.startswith("<think>") and len(turn.thought.splitlines()) == 4)
    brief = Brief(conversation, memory, Severity.NONE)
    for stage, parse, name in (
        (StageName.EMOTION, answers.parse_emotion, "analysis"),
        (StageName.DRAFT, answers.parse_draft, "draft"),
        (StageName.SIMULATION, answers.parse_simulation, "reactions"),
        (StageName.REVIEW, answers.parse_review, "review"),
    ):
        turn.valid[stage.value] = False
        text, stopped = model.write(language, stage, brief)
        turn.written[stage.value] = text
        try:
            value: Any = parse(text)
        except ValueError:
            break
        turn.valid[stage.value] = stopped
        if name != "review":
            brief = replace(brief, **{name: value})
    return turn


def shares_word(message: str, reply: str, language: Language) -> bool:
    """English: a word of three letters or more, no filler, up to its ending. Chinese: two characters in a row."""
    if language == "zh":
        said = re.findall(r"[\u4e00-\u9fff]{2,}", message)
        pairs = {part[i : i + 2] for part in said for i in range(len(part) - 1)}
        return any(pair in reply for pair in pairs)
    stems = {word[:5] for word in re.findall(r"[a-z]{3,}", message.lower()) if word not in _PLAIN}
    return any(word[:5] in stems for word in re.findall(r"[a-z]{3,}", reply.lower()))


def replies(turns: list[tuple[Language, Turn]]) -> dict[str, float]:
    """Shares of the turns whose LLM Mode reply has each property."""
    checks = Counter[str]()
    for language, turn in turns:
        checks["stops by itself"] += turn.stopped and bool(turn.reply)
        checks["in the seeker's language"] += detect(turn.reply) == language
        checks["shares a content word"] += shares_word(turn.message, turn.reply, language)
        checks["no repeated 4-gram"] += not repeats(turn.reply, language)
        checks["one question at most"] += len(re.findall("[?？]", turn.reply)) <= 1
    return {name: round(count / len(turns), 3) for name, count in checks.items()}


def drafts(model: Model) -> dict[str, Any]:
    """Bad drafts that the model's own simulation and review refuse, and kind ones that pass."""
    found: dict[str, Any] = {"pairs": 0, "bad refused": 0, "kind passed": 0}
    for language, line in lines("fixed_drafts.txt"):
        message, bad, kind = (part.strip() for part in line.split("|"))
        conversation = Conversation((Utterance("seeker", message),))
        found["pairs"] += 1
        for name, text, wanted in (("bad refused", bad, False), ("kind passed", kind, True)):
            brief = Brief(conversation, severity=Severity.NONE, draft=Draft("exploration", "", text))
            try:
                reactions = answers.parse_simulation(model.write(language, StageName.SIMULATION, brief)[0])
                review = answers.parse_review(
                    model.write(language, StageName.REVIEW, replace(brief, reactions=reactions))[0]
                )
                found[name] += review.passed is wanted
            except ValueError:
                continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=architecture.WEIGHTS)
    parser.add_argument("--to", type=Path, default=architecture.RESULTS)
    parser.add_argument("--show", action="store_true", help="print what was written")
    options = parser.parse_args()
    began = time.monotonic()
    weights, tokenizer = load(options.weights)
    model = Model(weights, tokenizer, Renderer(tokenizer))
    report: dict[str, Any] = {}
    torch.manual_seed(0)
    for name, temperature in (("greedy", 0.0), ("temperature 0.6", 0.6)):
        model.temperature = temperature
        turns = [
            (language, take(model, language, Conversation((Utterance("seeker", message),))))
            for language, message in lines("fixed_messages.txt")
        ]
        report[name] = {"messages": len(turns)}
        for language in ("en", "zh"):
            ours = [(spoken, turn) for spoken, turn in turns if spoken == language]
            valid = {
                stage.value: round(sum(turn.valid.get(stage.value, False) for _, turn in ours) / len(ours), 3)
                for stage in StageName
            }
            report[name][language] = {"replies": replies(ours), "valid without grammar": valid}
        report[name]["written"] = [
            {"seeker": turn.message, "thought": turn.thought, "reply": turn.reply, **turn.written} for _, turn in turns
        ]
    model.temperature = 0.0
    report["drafts under review"] = drafts(model)
    report["made with"] = {
        "command": "python -m models.counselor.evaluate",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "seconds": round(time.monotonic() - began),
    }
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    card.write(options.weights)
    if options.show:
        for entry in report["greedy"]["written"]:
            print("\n".join(f"{key}: {value}" for key, value in entry.items()), "\n")
    for name in ("greedy", "temperature 0.6"):
        print(name, {key: value for key, value in report[name].items() if key != "written"})
    print(report["drafts under review"])


if __name__ == "__main__":
    main()
