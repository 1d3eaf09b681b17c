"""Who speaks for a card and rates what comes back: a model, or lines of the card with a classifier beside them."""

from psychechat.evaluation.seekers.base import END, Seeker, Spoken, SpokenFor
from psychechat.evaluation.seekers.modelled import Modelled
from psychechat.evaluation.seekers.scripted import Scripted

__all__ = ["END", "Modelled", "Scripted", "Seeker", "Spoken", "SpokenFor"]
