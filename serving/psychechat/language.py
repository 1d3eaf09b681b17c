"""Which of the two languages a conversation is held in."""

from psychechat.conversation import Conversation
from psychechat.emotion import Language


def detect(text: str) -> Language | None:
    """The language that a text is clearly written in as a whole, or None.

    Clearly Chinese: at least half of its letters are Han. Clearly English: none are, and there are two words or
    more. A greeting, a name or a mixture says nothing.
    """
    letters = [character for character in text if character.isalpha()]
    han = sum("一" <= character <= "鿿" for character in letters)
    if han and 2 * han >= len(letters):
        return "zh"
    if not han and len(text.split()) >= 2 and any(character.isascii() for character in letters):
        return "en"
    return None


def choose(conversation: Conversation, default: Language) -> Language:
    """The language of the first seeker message that has one, until a whole later message is clearly in the other."""
    spoken = [detect(utterance.text) for utterance in conversation.utterances if utterance.speaker == "seeker"]
    return next((language for language in reversed(spoken) if language is not None), default)
