"""Pooling, all classification heads and their softmaxes in one call."""

from psychechat_kernels.fused_heads.op import (
    MAX_COLUMNS,
    Implementation,
    Pooling,
    fused_heads,
    new_workspace,
    uses_kernel,
    warm_up,
)
from psychechat_kernels.fused_heads.tuning import Tuning

__all__ = [
    "MAX_COLUMNS",
    "Implementation",
    "Pooling",
    "Tuning",
    "fused_heads",
    "new_workspace",
    "uses_kernel",
    "warm_up",
]
