"""Which of the two languages a conversation is held in."""

from itertools import chain

from psychechat.conversation import Conversation
from psychechat.emotion import Language


def detect(text: str, least: int = 2) -> Language | None:
    """The language that a text is clearly written in as a whole, or None.

    Clearly Chinese: at least half of its letters are Han. Clearly English: none are, and some are plain Latin. Either
    way it takes `least` Han characters or words: a greeting, a name or a mixture says nothing.
    """
    letters = [character for character in text if character.isalpha()]
    han = sum("一" <= character <= "鿿" for character in letters)
    if han >= least and 2 * han >= len(letters):
        return "zh"
    if not han and len(text.split()) >= least and any(character.isascii() for character in letters):
        return "en"
    return None


_TO_SWITCH = 4
"""Words or Han characters of a message that is long enough to change the language of a conversation."""


def choose(conversation: Conversation, default: Language) -> Language:
    """The language of the first seeker message that has one, until a whole later message is clearly in the other."""
    spoken = [utterance.text for utterance in conversation.utterances if utterance.speaker == "seeker"]
    clear = (detect(text, _TO_SWITCH) for text in reversed(spoken))
    hinted = (detect(text) for text in spoken)
    return next(filter(None, chain(clear, hinted)), default)
