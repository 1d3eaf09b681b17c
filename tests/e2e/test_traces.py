"""One trace a turn, through HAProxy, Ray and vLLM, as a collector gets it."""

from collections import Counter

import openai

from tests.support.collector import Collector, Span

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
AGENT = {"emotion", "draft", "simulation", "review"}
SERVICES = {"psychechat-ingress", "psychechat-classifier", "psychechat-counselor"}
SAID = "My sister moved to Lisbon last week"


def test_a_turn_is_one_trace_across_ray_and_vllm(client: openai.OpenAI, collector: Collector) -> None:
    client.chat.completions.create(
        model="psychechat-agent",
        messages=[{"role": "user", "content": SAID}],
        extra_headers={"traceparent": f"00-{TRACE}-{CALLER}-01"},
    )

    def ours(spans: list[Span]) -> list[Span]:
        return [span for span in spans if span.trace == TRACE]

    def whole(spans: list[Span]) -> bool:
        """Each process sends its own when it likes."""
        services = {span.service for span in ours(spans) if span.parent != CALLER}
        ended = any(span.parent == CALLER for span in ours(spans))
        counts = Counter(span.name for span in ours(spans))
        return (
            ended and services == SERVICES and all(counts[name] >= len(AGENT) for name in ("generate", "llm_request"))
        )

    spans = ours(collector.wait_for(whole))
    [root] = [span for span in spans if span.parent == CALLER]
    assert (root.service, root.name) == ("psychechat-ingress", "/v1/chat/completions")
    stages = {span.name: span for span in spans if span.parent == root.id}
    assert set(stages) == {"queue", "classify", "judge", *AGENT}

    [reading] = [span for span in spans if span.parent == stages["classify"].id]
    assert (reading.service, reading.name) == ("psychechat-classifier", "classify")
    for name in AGENT:
        work = [span for span in spans if span.parent == stages[name].id]
        assert {(span.service, span.name) for span in work} == {("psychechat-counselor", "generate")}
        assert {span.attributes["psychechat.stage"] for span in work} == {name}
        in_vllm = [span for span in spans if span.parent in {span.id for span in work}]
        assert {span.name for span in in_vllm} == {"llm_request"}
    for word in ("sister", "Lisbon"):
        assert not any(word.encode() in body for body in collector.bodies)
