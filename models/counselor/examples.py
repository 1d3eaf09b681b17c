"""From hand-offs to training examples: exactly the prompts that the server renders, and the answers to them."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import written_turns
from models.counselor.bank_turns import Bank
from models.counselor.turn_record import TurnRecord
from models.written import Exchange, Split, exchanges
from psychechat import prompts
from psychechat.config.roles import LANGUAGES
from psychechat.conversation import Conversation, StageInputs, Utterance
from psychechat.emotion import LABELS, Label, Language
from psychechat.engines.base import Message, StageName
from psychechat.engines.scripted import reading
from psychechat.prompts import answers

START, END = "<|im_start|>", "<|im_end|>"
THINKS = StageName.REPLY
WORDED = (StageName.REPLY.value, StageName.DRAFT.value)
"""Stages whose words reach the seeker. An exchange's are about its details, which nano cannot read."""
FLAWED = 0.35
"""Share of simulations and reviews that are about a draft which must not pass."""
SHARE = 0.35
"""Of the stages of a written turn, in one epoch."""
SPECIFIC = 0.4
"""Share of drafts under review, of those that pass, that are about a detail."""
RIGHT = 0.7
"""Share of turns in which the classifier found what is true."""


@dataclass(frozen=True)
class Example:
    """A prompt, cut where prompts of one conversation part, and what the model is to write after it."""

    stage: str
    language: Language
    chunks: tuple[str, ...]
    answer: str


class Renderer:
    """Prompts of both built-in packs through the model's chat template."""

    def __init__(self, tokenizer: TokenizersBackend) -> None:
        self._tokenizer = tokenizer
        self._packs = {language: prompts.load(language) for language in ("en", "zh")}

    def prompt(self, language: Language, stage: StageName, inputs: StageInputs) -> str:
        return self._template(self._packs[language].messages(stage, inputs), thinks=stage is THINKS)

    def example(self, language: Language, stage: StageName, inputs: StageInputs, answer: str) -> Example:
        return Example(stage.value, language, _cut(self.prompt(language, stage, inputs)), answer)

    def _template(self, messages: list[Message], *, thinks: bool) -> str:
        rendered = self._tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=thinks,
        )
        assert isinstance(rendered, str)
        return rendered


def _cut(prompt: str) -> tuple[str, ...]:
    """One chunk a message; the stage's inputs and the opening of the answer are one."""
    parts = [START + part for part in prompt.split(START)[1:]]
    if parts[-2].startswith(f"{START}system"):
        return (*parts[:-2], "".join(parts[-2:]))
    return tuple(parts)


def of_turn(render: Renderer, language: Language, turn: TurnRecord, rng: random.Random) -> Iterator[Example]:
    """The five stages of a turn; some of them about a draft that was refused, or after one."""
    heard = found(turn.analysis.labels, rng) or () if turn.found is None else turn.found
    told = StageInputs(turn.conversation, reading(heard, turn.severity, turn.memory, act=turn.act), turn.analysis)
    rounds = turn.refused if rng.random() < FLAWED else ()
    flawed = turn.refused[0] if turn.refused and rng.random() < FLAWED else None
    kind = turn.judged if turn.judged and rng.random() < SPECIFIC else turn.draft
    draft, reactions = (flawed.draft, flawed.reactions) if flawed else (kind, turn.reactions)
    review = flawed.review if flawed else turn.review
    answered = {
        StageName.EMOTION: (told, answers.render(turn.analysis, language)),
        StageName.DRAFT: (replace(told, rounds=rounds), answers.render(turn.draft, language)),
        StageName.SIMULATION: (replace(told, draft=draft), answers.render(reactions, language)),
        StageName.REVIEW: (replace(told, draft=draft, reactions=reactions), answers.render(review, language)),
        StageName.REPLY: (told, f"<think>\n{turn.thinking}\n</think>\n\n{turn.reply}"),
    }
    for stage, (inputs, answer) in answered.items():
        yield render.example(language, stage, inputs, answer)


def of_exchange(render: Renderer, exchange: Exchange, rng: random.Random) -> Iterator[Example]:
    """The stages of a written turn: SHARE of them, and always the reply, which is the hardest, if it is plain.

    If all of it was written, the reply as a draft and its hurting twin are tried out and reviewed. The twin is only
    ever read: tried out, reviewed, or as a refused draft before a good one.
    """
    turn, language = written_turns.record(exchange), exchange.language
    told = StageInputs(
        turn.conversation,
        reading(found(turn.analysis.labels, rng) or (), turn.severity, turn.memory),
        turn.analysis,
    )
    thought = f"<think>\n{turn.thinking}\n</think>\n\n{turn.reply}"
    if exchange.is_plain:
        yield render.example(language, StageName.REPLY, told, thought)
    if rng.random() < SHARE:
        yield render.example(language, StageName.EMOTION, told, answers.render(turn.analysis, language))
    if exchange.is_plain and rng.random() < SHARE:
        after = replace(told, rounds=turn.refused if rng.random() < FLAWED else ())
        yield render.example(language, StageName.DRAFT, after, answers.render(turn.draft, language))
    tried = [(turn.draft, turn.reactions, turn.review)] if turn.reactions else []
    tried += [(refused.draft, refused.reactions, refused.review) for refused in turn.refused]
    for draft, reactions, review in tried:
        if rng.random() < SHARE:
            inputs = replace(told, draft=draft)
            yield render.example(language, StageName.SIMULATION, inputs, answers.render(reactions, language))
            inputs = replace(inputs, reactions=reactions)
            yield render.example(language, StageName.REVIEW, inputs, answers.render(review, language))


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of conversation, the rest is the bank's; and of Chinese."""

    exchanges: float = 0.1
    """Written whole, with reactions and verdicts of their own."""
    long: float = 0.04
    chinese: float = 0.45


def stream(
    render: Renderer, seed: int, bank: Bank, mix: Mix = Mix(), split: Split = "train", skip: int = 0
) -> Iterator[list[Example]]:
    """Endless conversations as lists of examples, some of them empty. `skip` goes on after that many."""
    held = [exchange for exchange in exchanges() if exchange.split == split]
    told = {spoken: [exchange for exchange in held if exchange.language == spoken] for spoken in LANGUAGES}
    for count in itertools.count(skip):
        rng = random.Random(f"{seed}-{split}-{count}")
        draw = rng.random()
        language: Language = "zh" if rng.random() < mix.chinese else "en"
        if draw < mix.exchanges:
            yield [x for x in of_exchange(render, rng.choice(told[language]), rng) if x.stage not in WORDED]
        elif draw < mix.exchanges + mix.long:
            past: tuple[Utterance, ...] = ()
            for _ in range(rng.choice((4, 8, 14))):
                *_, last = bank.conversation(rng, language)
                whole = Conversation((*past, *last.conversation.utterances))
                past = (*whole.utterances, Utterance("counselor", last.reply))
            yield list(of_turn(render, language, replace(last, conversation=whole), rng))
        else:
            turns = bank.conversation(rng, language)
            yield [example for turn in turns for example in of_turn(render, language, turn, rng)]


def found(labels: tuple[Label, ...], rng: random.Random) -> tuple[Label, ...] | None:
    """What a classifier may find where these are right: mostly them, sometimes less, another intensity, or wrong."""
    draw = rng.random()
    if draw < RIGHT:
        return labels
    if draw < RIGHT + 0.06:
        return (*labels[:1], rng.choice(LABELS)) if len(labels) == 1 else labels[:1]
    if draw < RIGHT + 0.12:
        return tuple(Label(label.group, rng.choice((1, 2, 3))) for label in labels)
    return (rng.choice(LABELS),) if draw < RIGHT + 0.16 else None


class Encoder:
    """Token ids of chunks. Control tokens split a text wherever they stand, so chunks can be encoded one by one."""

    def __init__(self, tokenizer: TokenizersBackend) -> None:
        self._encode = lru_cache(maxsize=4096)(
            lambda text: tuple(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)
        )

    def __call__(self, text: str) -> tuple[int, ...]:
        return self._encode(text)
