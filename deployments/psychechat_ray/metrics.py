"""The ingress's metrics on Ray's plane: beside vLLM's, Serve's and Ray's own, at the metrics port of each node.

Each sample of the registry is set on a Ray gauge of its name, so that a counter keeps its exact value (a Ray counter
cannot be 0) and a histogram its exact buckets (the agent rebuilds a Ray histogram from the middles of its buckets).
For Prometheus a type is a comment: `rate` and `histogram_quantile` read these as they read any other.
"""

from prometheus_client import CollectorRegistry
from ray.util.metrics import Gauge

from psychechat_ray.periodic import Periodic

SECONDS = 2.0
"""Between two readings. Ray passes them on every ten (`RAY_metrics_report_interval_ms`)."""


class Plane(Periodic):
    """Reads the registry until it is closed."""

    def __init__(self, registry: CollectorRegistry, replica: str) -> None:
        """`replica` tells the ingress's replicas apart, also where Ray's agent drops its own labels that would."""
        self._registry, self._replica = registry, replica
        self._gauges: dict[str, Gauge] = {}
        super().__init__(self._render, SECONDS, "metrics")

    def _render(self) -> None:
        for family in self._registry.collect():
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                if sample.name not in self._gauges:
                    tags = (*sample.labels, "replica")
                    self._gauges[sample.name] = Gauge(sample.name, family.documentation, tags)
                self._gauges[sample.name].set(sample.value, {**sample.labels, "replica": self._replica})
