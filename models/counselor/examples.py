"""From hand-offs to training examples: exactly the prompts that the server renders, and the answers to them."""

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import natural
from models.counselor.corpus import lexicon
from models.counselor.corpus.generate import conversation, first_message
from models.counselor.corpus.story import Story, TurnRecord
from psychechat.conversation import Conversation, EmotionAnalysis, Utterance
from psychechat.emotion import Language
from psychechat.engines.base import Message, StageName
from psychechat.pipeline import answers, packs
from psychechat.pipeline.packs import Brief

START, END = "<|im_start|>", "<|im_end|>"
THINKS = StageName.REPLY
FLAWED = 0.4
"""Share of simulations and reviews that are about a draft which must not pass."""


@dataclass(frozen=True)
class Example:
    """A prompt, cut where prompts of one conversation part, and what the model is to write after it."""

    stage: str
    language: Language
    chunks: tuple[str, ...]
    answer: str
    whole: bool = True
    """Whether the answer ends here; else it is a beginning, for practice."""

    def decides(self, end: int) -> bool:
        """Whether a token that ends at this character decides what the rest of the answer will say."""
        found = _DECISIONS[self.stage].search(self.answer) if self.stage in _DECISIONS else None
        return found is not None and found.start(1) < end <= found.end(1)


_DECISIONS = {
    StageName.EMOTION.value: re.compile(r'"current_emotion":\[(.*?)\]'),
    StageName.REPLY.value: re.compile(r"^<think>\n[^:：]*[:：](.*?)(?:,|，|\n)"),
    StageName.SIMULATION.value: re.compile(r'"response":"(.{1,6})'),
    StageName.REVIEW.value: re.compile(r'"analysis":"(.{1,6})'),
}
"""The emotions, and how the first reaction and the first verdict begin."""


class Renderer:
    """Prompts of both built-in packs through the model's chat template."""

    def __init__(self, tokenizer: TokenizersBackend) -> None:
        self._tokenizer = tokenizer
        self._packs = {language: packs.load(language) for language in ("en", "zh")}

    def prompt(self, language: Language, stage: StageName, brief: Brief) -> str:
        return self._template(self._packs[language].messages(stage, brief), thinks=stage is THINKS)

    def example(self, language: Language, stage: StageName, brief: Brief, answer: str) -> Example:
        return Example(stage.value, language, _cut(self.prompt(language, stage, brief)), answer)

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

    told = Brief(turn.conversation, turn.memory, turn.severity, turn.analysis)
    rounds = turn.refused if rng.random() < FLAWED else ()
    flawed = turn.refused[0] if turn.refused and rng.random() < FLAWED else None
    draft, reactions = (flawed.draft, flawed.reactions) if flawed else (turn.draft, turn.reactions)
    review = flawed.review if flawed else turn.review
    answered = {
        StageName.EMOTION: (told, answers.render(turn.analysis, language)),
        StageName.DRAFT: (replace(told, rounds=rounds), answers.render(turn.draft, language)),
        StageName.SIMULATION: (replace(told, draft=draft), answers.render(reactions, language)),
        StageName.REVIEW: (replace(told, draft=draft, reactions=reactions), answers.render(review, language)),
        StageName.REPLY: (told, f"<think>\n{turn.thinking}\n</think>\n\n{turn.reply}"),
    }
    for stage, (brief, answer) in answered.items():
        yield render.example(language, stage, brief, answer)


def feelings(render: Renderer, language: Language, rng: random.Random, split: natural.Split) -> Iterator[Example]:
    """Practice in reading: messages, and only the emotions in them."""
    for _ in range(8):
        if natural.available() and rng.random() < 0.2:
            text, labels = rng.choice(natural.moods(language, split))
        else:
            message = first_message(language, rng)
            text, labels = message.text, message.labels
        brief = Brief(Conversation((Utterance("seeker", text),)))
        answer = answers.render(EmotionAnalysis(labels, ""), language)
        yield _begun(render.example(language, StageName.EMOTION, brief, answer))


def judgements(render: Renderer, language: Language, rng: random.Random, split: natural.Split) -> Iterator[Example]:
    """Practice in judging: kind and hurting drafts, and only how reaction and verdict begin."""
    for _ in range(4):
        if natural.available() and rng.random() < 0.3:
            message = rng.choice(natural.openings(language, split))
        else:
            message = first_message(language, rng)
        story = Story(rng, lexicon.load(language), message, message)
        kind = rng.random() < 0.5
        said = ""
        if natural.available() and not message.severity and rng.random() < 0.35:
            said = rng.choice(natural.drafts(language, split, kind=kind))
        made = story.accepted(message, said) if kind else story.refused(message, "exploration", said)
        brief = Brief(Conversation((Utterance("seeker", message.text),)), None, message.severity, draft=made.draft)
        judged = replace(brief, reactions=made.reactions)
        yield _begun(render.example(language, StageName.SIMULATION, brief, answers.render(made.reactions, language)))
        yield _begun(render.example(language, StageName.REVIEW, judged, answers.render(made.review, language)))


def _begun(example: Example) -> Example:
    """The answer up to its first closing bracket."""
    found = re.match(r".*?[\]}]", example.answer)
    assert found is not None
    return replace(example, answer=found[0], whole=False)


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of conversation, all languages together; the rest are natural openings."""

    synthetic: float = 0.55
    feelings: float = 0.16
    judgements: float = 0.12


def stream(
    render: Renderer, seed: int, mix: Mix = Mix(), split: natural.Split = "train", skip: int = 0
) -> Iterator[list[Example]]:
    """Endless conversations as lists of examples, two English for three Chinese. `skip` goes on after that many."""
    for count in itertools.count(skip):
        language: Language = "en" if count % 5 in (0, 2) else "zh"
        rng = random.Random(f"{seed}-{split}-{count}")
        draw = rng.random()
        if draw < mix.feelings:
            yield list(feelings(render, language, rng, split))
            continue
        if draw < mix.feelings + mix.judgements:
            yield list(judgements(render, language, rng, split))
            continue
        if draw < mix.feelings + mix.judgements + mix.synthetic or not natural.available():
            turns = conversation(language, seed, count)
        else:
            first = rng.choice(natural.openings(language, split))
            turns = list(Story(rng, lexicon.load(language), first, first).turns(rng.choice((1, 1, 1, 2))))
        yield [example for turn in turns for example in of_turn(render, language, turn, rng)]


class Encoder:
    """Token ids of chunks. Control tokens split a text wherever they stand, so chunks can be encoded one by one."""

    def __init__(self, tokenizer: TokenizersBackend) -> None:
        self._encode = lru_cache(maxsize=4096)(
            lambda text: tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        )

    def __call__(self, text: str) -> tuple[int, ...]:
        return tuple(self._encode(text).ids)

    def ends(self, text: str) -> list[int]:
        """Where in the text each token ends."""
        return [end for _, end in self._encode(text).offsets]
