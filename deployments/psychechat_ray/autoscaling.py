"""How many replicas there should be: our settings in Ray's words, and the rule by which engines scale.

Serve carries this module's code to its controller, which asks the rule ten times a second.
"""

import warnings
from dataclasses import asdict
from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from psychechat.config import Autoscaling, GeneratorSettings
from psychechat.engines.base import Load

REPORT_SECONDS = 10.0
"""Replicas say how they are so often at least, and three times a window."""


def options(autoscaling: Autoscaling, policy: AutoscalingPolicy | None = None) -> dict[str, Any]:
    """Of a Serve deployment that scales. Without a policy it does so by Ray's own: on the requests that are open."""
    with warnings.catch_warnings():
        # What is to take the interval's place, a variable of the environment, is not read yet.
        warnings.filterwarnings("ignore", message=".*metrics_interval_s", category=DeprecationWarning)
        config = AutoscalingConfig(
            min_replicas=autoscaling.min_replicas,
            max_replicas=autoscaling.max_replicas,
            target_ongoing_requests=autoscaling.target,
            look_back_period_s=autoscaling.window_seconds,
            metrics_interval_s=min(REPORT_SECONDS, autoscaling.window_seconds / 3),
            upscale_delay_s=autoscaling.upscale_seconds,
            downscale_delay_s=autoscaling.downscale_seconds,
            policy=policy or AutoscalingPolicy(),  # type: ignore[no-untyped-call]
        )
    return {"autoscaling_config": config}


def by_fullness(settings: GeneratorSettings) -> AutoscalingPolicy | None:
    if settings.replicas.autoscaling is None:
        return None
    kwargs = {"target": settings.replicas.autoscaling.target}
    return AutoscalingPolicy(policy_function=f"{__name__}:Fullness", policy_kwargs=kwargs)  # type: ignore[no-untyped-call]


def gauges(load: Load, sequences: int) -> dict[str, float]:
    """What an engine's replica says to Serve, for `Fullness`. `sequences`: how many of them it takes at once."""
    return asdict(load) | {"sequences": sequences}


class Fullness:
    """So many engines that each is as full as `target`, of sequences or in its KV cache.

    Admission lets no more turns in than the engines run at once, so it is not in the engines' own queues alone that one
    sees them full: a sequence that runs counts as one that waits. How many an engine takes it says itself: where its KV
    memory holds fewer than `max_num_seqs`, it would never look full of those.
    """

    def __init__(self, target: float) -> None:
        self._target = target

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        said = context.aggregated_metrics or {}
        running, waiting = said.get("num_requests_running", {}), said.get("num_requests_waiting", {})
        cache, sequences = said.get("kv_cache_usage_perc", {}), said.get("sequences", {})
        full = [max((running[r] + waiting[r]) / sequences[r], cache[r]) for r in cache]
        wanted = round(sum(full) / self._target, 3)  # a rounding error is no reason for one more
        if not full or len(full) < context.current_num_replicas:
            # Whoever has said nothing yet may be full.
            wanted = max(wanted, context.target_num_replicas)
        return wanted, {}
