"""Where vLLM's own metrics go, and what it says of its memory."""

from vllm.config import VllmConfig
from vllm.v1.metrics.loggers import StatLoggerBase, StatLoggerFactory
from vllm.v1.metrics.stats import IterationStats, MultiModalCacheStats, SchedulerStats

from psychechat.engines.base import Load


def stat_loggers(on_ray: bool) -> list[StatLoggerFactory]:
    """With `on_ray` to Ray's agent, as `ray_vllm_*`; else to the process's registry, which is vLLM's default."""
    if not on_ray:
        return []
    from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger  # imports Ray

    return [RayPrometheusStatLogger]


def kv_tokens(config: VllmConfig) -> int | None:
    """Tokens for which the started engine has KV memory, all its data-parallel copies together; None: it keeps no KV.

    What vLLM says itself counts a model's groups of layers; where it does not say, blocks times their size do.
    """
    cache = config.cache_config
    if cache.kv_cache_size_tokens:
        return cache.kv_cache_size_tokens * config.parallel_config.data_parallel_size
    return (cache.num_gpu_blocks or 0) * cache.block_size or None


class Gauges:
    """What the engine's schedulers last said of themselves: there are several with data parallelism."""

    def __init__(self) -> None:
        self._newest: dict[int, SchedulerStats] = {}

    def listener(self, config: VllmConfig, engine_index: int = 0) -> StatLoggerBase:
        return _Listener(self._newest)

    def load(self) -> Load:
        newest = self._newest.values()
        return Load(
            sum(stats.num_running_reqs for stats in newest),
            sum(stats.num_waiting_reqs + stats.num_skipped_waiting_reqs for stats in newest),
            max((stats.kv_cache_usage for stats in newest), default=0.0),
        )


class _Listener(StatLoggerBase):
    def __init__(self, newest: dict[int, SchedulerStats]) -> None:
        self._newest = newest

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: MultiModalCacheStats | None = None,
        engine_idx: int = 0,
    ) -> None:
        if scheduler_stats is not None:
            self._newest[engine_idx] = scheduler_stats

    def log_engine_initialized(self) -> None:
        """There is nothing to tell yet."""
