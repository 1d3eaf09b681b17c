"""The one optimiser of all heads that are fitted over vectors or n-grams which stay as they are."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def minimise(parameters: Sequence[Tensor], loss: Callable[[], Tensor], *, steps: int, history: int = 20) -> None:
    """Changes the parameters until the loss is least. What is convex ends the same every time."""
    optimiser = torch.optim.LBFGS(parameters, max_iter=steps, history_size=history, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]
