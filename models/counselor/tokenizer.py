"""nano's tokenizer: a byte-level BPE for English and Chinese, so that any text has a spelling."""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor.architecture import CONTEXT, TEMPLATE, VOCABULARY

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINKING = ("<think>", "</think>")
"""Single tokens, but no control tokens: as with Qwen3 they stay in decoded text, where thinking ends is visible."""

WORDS = Regex(r"'(?:s|t|re|ve|m|ll|d)| ?[a-zA-Z]+|[^\S\r\n]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
LONGEST_PIECE = 18
"""Characters of the byte alphabet: an English word, or six Chinese characters."""


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
    return TokenizersBackend(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE.read_text(encoding="utf-8"),
    )
