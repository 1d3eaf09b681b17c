"""How Ray runs a deployment: how many replicas, on what."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from psychechat.policy import Branch


class Autoscaling(Branch):
    """Between which bounds Ray chooses the number of a deployment's replicas, by what, and how soon."""

    min_replicas: PositiveInt = 1
    max_replicas: PositiveInt
    target: PositiveFloat = 40.0
    """Requests that a replica should have open at once: turns of an ingress, classifications of a classifier."""
    window_seconds: PositiveFloat = 30.0
    """What is compared with the target is the mean of so long."""
    upscale_seconds: NonNegativeFloat = 10.0
    """For so long it must have been too much until replicas are added."""
    downscale_seconds: NonNegativeFloat = 600.0
    """For so long it must have been too little until replicas go: an engine takes minutes to come back."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("autoscaling.min_replicas is more than max_replicas")
        return self


class EngineAutoscaling(Autoscaling):
    target: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """How full an engine should be: of sequences (what it runs and what waits in it, of `max_num_seqs`) or in its KV
    cache, whichever is fuller."""


class Replicas(Branch):
    """How Ray runs a deployment."""

    num_replicas: PositiveInt = 1
    autoscaling: Autoscaling | None = None
    """In the place of `num_replicas`."""
    num_cpus: NonNegativeFloat = 1.0
    num_gpus: NonNegativeFloat = 0.0
    resources: Mapping[str, PositiveFloat] = {}
    """Ray's custom resources: only nodes that have them run the replica, e.g. `{"accelerator_type:A100": 0.001}`."""
    env: Mapping[str, str] = {}
    """Environment of the replica's processes, e.g. `VLLM_CPU_OMP_THREADS_BIND`."""
    health_check_seconds: PositiveFloat = 5.0
    """Between two of Serve's health checks. A replica that died is replaced after the next one, one whose engine died
    after the third."""
    start_attempts: PositiveInt | None = None
    """So often may replicas fail to start until Serve gives the deployment up; then only a new deployment helps. Left
    out: 2 for `psychechat serve`, where somebody is looking on, and 20 elsewhere."""

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if self.autoscaling is not None and self.num_replicas != 1:
            raise ValueError("num_replicas is for replicas that do not scale: leave it out, or leave out autoscaling")
        return self

    @property
    def least(self) -> int:
        return self.autoscaling.min_replicas if self.autoscaling else self.num_replicas

    @property
    def most(self) -> int:
        return self.autoscaling.max_replicas if self.autoscaling else self.num_replicas


class EngineReplicas(Replicas):
    autoscaling: EngineAutoscaling | None = None
    """In the place of `num_replicas`."""
