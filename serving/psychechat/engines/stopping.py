"""A client's stop strings, looked for in the reply alone: vLLM would find them in the thinking too."""

from collections.abc import Sequence


class StopStrings:
    """Feed it the pieces of one reply in order, then `finish`. Text that may be part of a stop is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._keep = max(map(len, stops), default=1) - 1
        self._held = ""
        self.hit = False
        """Whether a stop has come. It and all that follows are no part of the reply."""

    def feed(self, piece: str) -> str:
        """What may leave now."""
        text = self._held + piece
        places = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            self.hit, self._held = True, ""
            return text[: min(places)]
        ready = max(0, len(text) - self._keep)
        self._held = text[ready:]
        return text[:ready]

    def finish(self) -> str:
        """What was held back, now that nothing follows it."""
        held, self._held = self._held, ""
        return held
