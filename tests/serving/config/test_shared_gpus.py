"""Two engines on one GPU, of which each would measure the other's memory as its own, are refused before they start."""

from typing import Any

import pytest
from pydantic import ValidationError

from psychechat.config import Settings

GIVEN = {"kv_cache_memory_bytes": 10**10}


def engine(num_gpus: float, *, given: bool = False, **more: Any) -> dict[str, Any]:
    engine_args = GIVEN if given else {}
    resources = more.pop("resources", {})
    replicas = {"num_gpus": num_gpus, "resources": resources, "num_replicas": more.pop("num_replicas", 1)}
    return {"engine_args": engine_args, "replicas": replicas, **more}


def read(counselor: dict[str, Any], seeker: dict[str, Any] | None = None) -> Settings:
    return Settings.model_validate({"counselor": counselor, **({"seeker": seeker} if seeker else {})})


@pytest.mark.parametrize(
    ("engines", "measures", "beside"),
    [
        ((engine(0.5), engine(0.5)), "counselor", "seeker"),
        ((engine(0.3), engine(0.7, given=True)), "counselor", "seeker"),
        ((engine(0.3, given=True), engine(0.7)), "seeker", "counselor"),
        ((engine(0.5, num_replicas=2),), "counselor", "another replica of itself"),
        (
            (engine(0.5, resources={"large": 1, "a": 1}), engine(0.5, resources={"large": 1})),
            "counselor",
            "seeker",
        ),
        ((engine(0.5, resources={"large": 1}), engine(0.5)), "counselor", "seeker"),
    ],
)
def test_who_would_measure_anothers_memory_is_told(engines: Any, measures: str, beside: str) -> None:
    told = rf"{measures} may start on one GPU with {beside}.*engine_args\.kv_cache_memory_bytes of each"
    told += ".*beside gpu_memory_utilization, which must be no more than what is free"
    with pytest.raises(ValidationError, match=told):
        read(*engines)


@pytest.mark.parametrize(
    "engines",
    [
        (engine(0.5, given=True), engine(0.5, given=True)),
        (engine(0.5, num_replicas=2, given=True),),
        (engine(1), engine(1)),
        (engine(0.9), engine(0.9)),  # not on one card
        (engine(0.9, num_replicas=2),),
        (engine(0), engine(0)),
        (engine(0.5), engine(2)),
        (engine(0.5), engine(0.5, engine="scripted")),
        (engine(0.5, resources={"large": 1}), engine(0.5, resources={"small": 1})),
    ],
)
def test_whoever_is_alone_or_was_given_its_memory_may_start(engines: Any) -> None:
    read(*engines)
