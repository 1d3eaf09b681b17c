"""From hand-offs to training examples: exactly the prompts that the server renders, and the answers to them."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import natural
from models.counselor.corpus import lexicon
from models.counselor.corpus.generate import conversation
from models.counselor.corpus.story import Story, TurnRecord
from psychechat.conversation import Conversation, Utterance
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


class Renderer:
    """Prompts of both built-in packs through the model's chat template."""

    def __init__(self, tokenizer: TokenizersBackend) -> None:
        self._tokenizer = tokenizer
        self._packs = {language: packs.load(language) for language in ("en", "zh")}

    def prompt(self, language: Language, stage: StageName, brief: Brief) -> str:
        return self._template(self._packs[language].messages(stage, brief), thinks=stage is THINKS)

    def example(self, language: Language, stage: StageName, brief: Brief, answer: str) -> Example:
        return Example(stage.value, language, _cut(self.prompt(language, stage, brief)), answer)

    def dialogue(self, language: Language, texts: tuple[str, ...]) -> list[Example]:
        """A dialogue as it stands: each of the counselor's messages follows from what comes before it."""
        found = []
        system = self._packs[language].messages(THINKS, Brief(Conversation((Utterance("seeker", ""),))))[0]
        for end in range(1, len(texts), 2):
            said = [Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(texts[:end])]
            found.append(Example("dialogue", language, _cut(self._template([system, *said], thinks=True)), texts[end]))
        return found

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


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of conversation, all languages together."""

    synthetic: float = 0.74
    openings: float = 0.2
    dialogues: float = 0.06


def stream(
    render: Renderer, seed: int, mix: Mix = Mix(), split: natural.Split = "train", skip: int = 0
) -> Iterator[list[Example]]:
    """Endless conversations as lists of examples, the languages in turn. `skip` resumes after that many."""
    use_natural = natural.available()
    for count in itertools.count(skip):
        language: Language = "en" if count % 2 == 0 else "zh"
        rng = random.Random(f"{seed}-{split}-{count}")
        draw = rng.random() if use_natural else 0.0
        if draw < mix.synthetic:
            turns = conversation(language, seed, count)
        elif draw < mix.synthetic + mix.openings or language == "en":
            first = rng.choice(natural.openings(language, split))
            turns = list(Story(rng, lexicon.load(language), first, first).turns(rng.choice((1, 1, 1, 2))))
        else:
            yield render.dialogue(language, rng.choice(natural.dialogues(split)))
            continue
        yield [example for turn in turns for example in of_turn(render, language, turn, rng)]


class Encoder:
    """Token ids of chunks. Control tokens split a text wherever they stand, so chunks can be encoded one by one."""

    def __init__(self, tokenizer: TokenizersBackend) -> None:
        self._encode = lru_cache(maxsize=4096)(
            lambda text: tuple(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)
        )

    def __call__(self, text: str) -> tuple[int, ...]:
        return self._encode(text)
