"""Language detection: which of the two languages a conversation is in."""

from itertools import chain

from psychechat.conversation import Conversation
from psychechat.emotion import Language


def detect(text: str, least: int = 2) -> Language | None:
    """Language in which the text as a whole is clearly written, or None.

    Clearly Chinese: at least half of its letters are Han. Clearly English: none are, and some are plain Latin. Either
    way at least `least` Han characters or words are needed: a greeting, a name or a mixture gives None.
    """
    letters = [character for character in text if character.isalpha()]
    han = sum("一" <= character <= "鿿" for character in letters)
    if han >= least and 2 * han >= len(letters):
        return "zh"
    if not han and len(text.split()) >= least and any(character.isascii() for character in letters):
        return "en"
    return None


_TO_SWITCH = 4
"""Fewest words or Han characters of a message that may change the language of a conversation."""


def choose(conversation: Conversation, default: Language) -> Language:
    """Language of the first seeker message that has one, until a later message of some length is clearly in another."""
    spoken = [utterance.text for utterance in conversation.utterances if utterance.speaker == "seeker"]
    clear = (detect(text, _TO_SWITCH) for text in reversed(spoken))
    hinted = (detect(text) for text in spoken)
    return next(filter(None, chain(clear, hinted)), default)
