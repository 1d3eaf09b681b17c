"""Engines that may start on one GPU at once, where vLLM takes another's weights for memory of its own."""

from collections.abc import Mapping

from psychechat.config.models import ModelSettings

GIVEN = "kv_cache_memory_bytes"


def check_memory_is_given(engines: Mapping[str, ModelSettings]) -> None:
    """Raises ValueError where two engines with KV memory may share a GPU and one of them would measure what is free.

    vLLM's measure is what the whole card has lost while it loaded. With KV memory given it measures nothing, but still
    does not start where less than `gpu_memory_utilization` of the card is free. `engines`: by name, those that keep KV;
    one that reads its texts in one go, as the demo's classifier, keeps none and measures nothing.
    """
    for name, engine in engines.items():
        if not _shares(engine) or GIVEN in engine.engine_args:
            continue
        beside = [other for other in engines if other != name and _may_meet(engine, engines[other])]
        if _meets_itself(engine):
            beside.append("another replica of itself")
        if beside:
            raise ValueError(
                f"{name} may start on one GPU with {beside[0]}, and would count the other's memory as its own: set "
                f"engine_args.{GIVEN} of each (`psychechat size` says how much), beside gpu_memory_utilization, which "
                "must be no more than what is free when it starts, or give each num_gpus: 1"
            )


def _shares(engine: ModelSettings) -> bool:
    return engine.engine == "vllm" and 0 < engine.replicas.num_gpus < 1


def _may_meet(one: ModelSettings, other: ModelSettings) -> bool:
    """Resources that they have not in common keep them on machines apart."""
    apart = one.replicas.resources and other.replicas.resources
    if not _shares(other) or (apart and not one.replicas.resources.keys() & other.replicas.resources.keys()):
        return False
    return one.replicas.num_gpus + other.replicas.num_gpus <= 1


def _meets_itself(engine: ModelSettings) -> bool:
    return engine.replicas.most > 1 and 2 * engine.replicas.num_gpus <= 1
