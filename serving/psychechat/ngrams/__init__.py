"""What a message's own words tell: what it is about and whether it is glad, beside the classifier (decision 0051)."""

from psychechat.ngrams.model import Told, told, version
from psychechat.ngrams.split import ngrams

__all__ = ["Told", "ngrams", "told", "version"]
