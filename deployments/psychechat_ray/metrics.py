"""Export of the ingress's metrics through Ray: with vLLM's, Serve's and Ray's own, at each node's metrics port.

Each sample of the registry is set on a Ray gauge of its name, so that a counter keeps its exact value (a Ray counter
cannot be 0) and a histogram its exact buckets (Ray's agent rebuilds its histograms from the middles of buckets).
Prometheus ignores the type: `rate` and `histogram_quantile` work as on any other metric.
"""

from prometheus_client import CollectorRegistry
from ray.util.metrics import Gauge

from psychechat_ray.periodic import Periodic

SECONDS = 2.0
"""Interval between exports. Ray reports every ten seconds (`RAY_metrics_report_interval_ms`)."""


class RayMetricsExporter(Periodic):
    """Metrics of one registry as Ray gauges, set anew every SECONDS until it is closed."""

    def __init__(self, registry: CollectorRegistry, replica: str) -> None:
        """`replica`: label that tells the ingress's replicas apart even if Ray's agent drops its own labels."""
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
