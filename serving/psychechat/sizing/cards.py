"""Cards that are sized, with what a size assumes of each."""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU. Its memory as CUDA tells it; the rest from its maker's data sheet."""

    gigabytes: int
    """As it is sold, which names it."""
    name: str
    memory: float
    """GiB that CUDA shows, of which the driver has taken its own."""
    bandwidth: float
    """Of the memory, bytes a second."""
    flops: float
    """In 16 bits, dense."""
    capability: tuple[int, int]
    """CUDA's, by which vLLM chooses its kernels."""


CARDS = {
    card.gigabytes: card
    for card in (
        Card(24, "L4", 22.0, 300e9, 121e12, (8, 9)),
        Card(40, "A100-40GB", 39.4, 1555e9, 312e12, (8, 0)),
        Card(48, "L40S", 44.4, 864e9, 362e12, (8, 9)),
        Card(80, "H100-80GB", 79.1, 3350e9, 989e12, (9, 0)),
        Card(141, "H200", 139.7, 4800e9, 989e12, (9, 0)),
    )
}
"""By their gigabytes. Others of the same size have about the memory, and a pace of their own."""
