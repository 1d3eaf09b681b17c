"""Where vLLM's own metrics go."""

from vllm.v1.metrics.loggers import StatLoggerFactory


def stat_loggers(on_ray: bool) -> list[StatLoggerFactory] | None:
    """With `on_ray` to Ray's agent, as `ray_vllm_*`; else to the process's registry, which is vLLM's default."""
    if not on_ray:
        return None
    from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger  # imports Ray

    return [RayPrometheusStatLogger]
