"""nano's tokenizer: a byte-level BPE for English and Chinese, so that any text has a spelling."""

import random
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models import written
from models.counselor import natural
from models.counselor.architecture import CONTEXT, TEMPLATE, VOCABULARY
from models.counselor.bank_turns import Bank
from models.counselor.written_turns import record
from psychechat import prompts
from psychechat.conversation import StageInputs
from psychechat.emotion import Language, label_names
from psychechat.engines.base import StageName
from psychechat.engines.scripted import reading
from psychechat.prompts import answers

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINKING = ("<think>", "</think>")
"""Single tokens, but no control tokens: as with Qwen3 they stay in decoded text, where thinking ends is visible."""

WORDS = Regex(
    r"'(?:s|t|re|ve|m|ll|d)| ?[a-zA-Z]+|[^\S\r\n]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
LONGEST_PIECE = 18
"""Characters of the byte alphabet: an English word, or six Chinese characters."""
CONVERSATIONS, NATURAL = 2000, 6000
"""Of the bank in each language, and lines of public dialogues, that pieces are learned from."""


def train(texts: Iterable[str]) -> TokenizersBackend:
    """Deterministic for the same texts in the same order."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = NFC()
    tokenizer.pre_tokenizer = Sequence([Split(WORDS, "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY - len(THINKING),
        special_tokens=list(CONTROL),
        initial_alphabet=ByteLevel.alphabet(),
        max_token_length=LONGEST_PIECE,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in THINKING])
    return TokenizersBackend(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=CONTROL[2],
        pad_token=CONTROL[0],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE.read_text(encoding="utf-8"),
    )


def texts() -> Iterator[str]:
    """What the pieces are learned from: prompts and answers as they will be rendered, natural text if there is any."""
    for language in ("en", "zh"):
        names = label_names(language)
        apart = re.compile("|".join(sorted(map(re.escape, names), key=len, reverse=True)))
        for text in _rendered(language):
            # Chinese has no spaces: a name that fused with its neighbours would be another piece each time.
            yield from apart.sub(r"\n\g<0>\n", text).split("\n") if language == "zh" else [text]
        yield from [f" {name}" if language == "en" else name for name in names] * 60
    yield from ["user\n", "assistant\n", "system\n"] * 500
    if natural.available():
        yield from islice(natural.seekers("train"), NATURAL)


def _rendered(language: Language) -> Iterator[str]:
    pack, rng, bank = prompts.load(language), random.Random(0), Bank.unlabelled("train")
    told = [x for x in written.exchanges() if x.language == language and x.split == "train"]
    turns = [*map(record, told), *(turn for _ in range(CONVERSATIONS) for turn in bank.conversation(rng, language))]
    yield from (line.text for lines in bank.lines.values() for line in lines if line.language == language)
    for number, turn in enumerate(turns):
        said = turn.conversation
        inputs = StageInputs(
            said,
            reading((), turn.severity, turn.memory),
            turn.analysis,
            turn.refused,
            turn.draft,
            turn.reactions,
        )
        messages = pack.messages(rng.choice(list(StageName)), inputs)
        yield from (message.content for message in messages[1 + len(said.utterances) :])
        hand_off = rng.choice((turn.draft, turn.analysis, turn.reactions, turn.review))
        yield from (said.newest, answers.render(hand_off, language), turn.thinking, turn.reply)
        if number % 50 == 0:
            yield messages[0].content
