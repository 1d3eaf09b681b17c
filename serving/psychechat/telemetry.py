"""Every metric of the pipeline, in one registry. Labels come from small fixed sets: never a word anyone wrote."""

import logging

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """One per process. A registry of its own keeps tests and engines apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("http_requests", "Requests answered", "route", "status")
        self.turns = self._counter("turns", "Turns by how they ended", "mode", "reason", "outcome")
        self.turn_seconds = self._histogram("turn_seconds", "From the request to the end of the reply", "mode")
        self.first_token_seconds = self._histogram(
            "first_token_seconds", "TTFT: from the request to the first words of the reply", "mode"
        )
        self.stage_seconds = self._histogram("stage_seconds", "Time in a stage, all its tries and rounds", "stage")
        self.malformed = self._counter(
            "stage_malformed", "Stage answers that did not parse and were tried again", "stage"
        )
        self.truncated = self._counter("stage_truncated", "Replies that ended at their length bound")
        self.refused_drafts = self._counter("refused_drafts", "Drafts that failed their review")
        self.crises = self._counter("crisis_turns", "Crisis turns by what noticed them", "source")
        self.escalations = self._counter("escalations", "Crisis events by what became of them", "result")
        self.escalations_pending = Gauge(
            "psychechat_escalations_pending", "Crisis events that wait for delivery", registry=self.registry
        )
        self.unknown_risk = self._counter("unknown_risk_turns", "Turns whose risk no classifier could tell")
        self.guard_findings = self._counter(
            "guard_findings", "What the output guard found in replies, and what it did", "cause", "action"
        )
        self.safe_templates = self._counter("safe_templates", "Turns that the safe template answered", "cause")
        self.recalls = self._counter("memory_recalls", "Look-ups of the emotion memory", "result")
        self.refusals = self._counter("refusals", "Turns and texts refused for load", "lane", "cause")
        self.wait_seconds = self._histogram("wait_seconds", "Time in a queue for a permit", "lane")
        self.permits = Gauge(
            "psychechat_permits",
            "Permits by lane, held (tokens or sequences) and waited for",
            ("lane", "state"),
            registry=self.registry,
        )
        self.stores = self._counter("memory_stores", "Turns by what became of their emotion memory", "result")
        self.tokens = self._counter("tokens", "Tokens of all stages", "kind")

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"psychechat_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"psychechat_{name}", text, labels, registry=self.registry, buckets=_SECONDS)


def log_kind(logger: logging.Logger, request_id: str, error: Exception, consequence: str) -> None:
    """An error may quote the conversation, so only its kind is logged."""
    logger.error("request %s: %s; %s", request_id, type(error).__name__, consequence)
