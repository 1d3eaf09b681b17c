"""Earlier turns that a stage is shown again, as far back as its bound goes."""

from collections.abc import Mapping

from psychechat.conversation import PastTurn
from psychechat.engines.base import StageName
from psychechat.prompts.pack_file import StageFile

_BYTES_A_TOKEN = 3
"""Of UTF-8, or more, in what people write."""
_MESSAGE_TOKENS = 64
"""Around what a message says, roughly."""


def shown(name: StageName, stage: StageFile, earlier: Mapping[int, PastTurn]) -> Mapping[int, PastTurn]:
    """Those of the turns, by their places in the conversation, that the stage shows again: `reply` those of LLM Mode
    that thought, any other stage those of Agent Mode. The newest come first, until `history_tokens` are full.
    """
    found: dict[int, PastTurn] = {}
    left = stage.history_tokens if stage.history == "full" else 0
    for place in sorted(earlier, reverse=True):
        turn = earlier[place]
        texts = [turn.thinking] if name is StageName.REPLY else [*turn.texts]
        if any(texts):
            left -= sum(len(text.encode()) for text in texts) // _BYTES_A_TOKEN + _MESSAGE_TOKENS * (
                1 + len(turn.rounds)
            )
            if left < 0:
                break
            found[place] = turn
    return found
