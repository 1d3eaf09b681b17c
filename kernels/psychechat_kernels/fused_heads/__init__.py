"""Pooling, all classification heads and their softmaxes in one call."""

from psychechat_kernels.fused_heads.op import Implementation, Pooling, fused_heads, new_workspace, warm_up

__all__ = ["Implementation", "Pooling", "fused_heads", "new_workspace", "warm_up"]
