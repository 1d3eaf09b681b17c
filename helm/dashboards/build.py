"""Writes the Grafana dashboards beside this file: `python -m helm.dashboards.build`. tests/helm holds them current.

They read Ray's agents: `ray_psychechat_*`, `ray_vllm_*`, `ray_serve_*`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

FOLDER = Path(__file__).parent
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

Query = tuple[str, str]
"""PromQL, and the legend of its series."""


def rate(metric: str, by: str = "", where: str = "") -> str:
    return f"sum{_by(by)} (rate({_series(metric, where)}[$__rate_interval]))"


def increase(metric: str, by: str = "", where: str = "") -> str:
    return f"sum{_by(by)} (increase({_series(metric, where)}[$__range]))"


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    buckets = _series(f"{metric}_bucket", where)
    return f"histogram_quantile({share}, sum by ({labels}) (rate({buckets}[$__rate_interval])))"


def mean(metric: str, by: str = "") -> str:
    return f"{rate(f'{metric}_sum', by)} / {rate(f'{metric}_count', by)}"


def quantiles(metric: str, by: str = "", where: str = "") -> list[Query]:
    legend = f" {{{{{by}}}}}" if by else ""
    return [(quantile(share, metric, by, where), f"p{share * 100:.0f}{legend}") for share in (0.5, 0.95, 0.99)]


def _series(metric: str, where: str) -> str:
    name = metric if metric.startswith("ray_") else f"ray_psychechat_{metric}"
    return f"{name}{{{where}}}" if where else name


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


def graph(
    title: str, unit: str, *queries: Query, about: str = "", stacked: bool = False, most: float | None = None
) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .min(0)
        .span(12)
        .height(8)
        .datasource(SOURCE)
        .fill_opacity(25 if stacked else 8)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL if stacked else StackingMode.NONE))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs(["mean", "max"])
        )
    )
    if most is not None:
        panel = panel.max(most)
    for letter, (expression, legend) in zip(ascii_uppercase, queries, strict=False):
        panel = panel.with_target(Dataquery().ref_id(letter).expr(expression).legend_format(legend).datasource(SOURCE))
    return panel


def number(title: str, unit: str, expression: str, *, about: str = "", bad_from: float | None = None) -> stat.Panel:
    steps = [Threshold(value=None, color="green")]
    if bad_from is not None:
        steps.append(Threshold(value=bad_from, color="red"))
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .span(6)
        .height(4)
        .datasource(SOURCE)
        .graph_mode(BigValueGraphMode.AREA)
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(Dataquery().ref_id("A").expr(expression).datasource(SOURCE))
    )


def dashboard(uid: str, title: str, about: str, *panels: timeseries.Panel | stat.Panel) -> Dashboard:
    built = (
        Dashboard(f"PsychēChat / {title}")
        .uid(f"psychechat-{uid}")
        .description(about)
        .tags(["psychechat"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for number, panel in enumerate(panels, start=1):
        built = built.with_panel(panel.id(number))
    return built


_IN_TIME = rate("first_token_seconds_bucket", where='mode="llm", le="2.5"')
_BEGUN = rate("first_token_seconds_count", where='mode="llm"')
SLOW = f"1 - {_IN_TIME} / {_BEGUN}"
FALLBACKS = f"{rate('safe_templates_total')} / {rate('turns_total')}"
_CACHED = rate("tokens_total", "stage", 'kind="cached"')
_PROMPTS = rate("tokens_total", "stage", 'kind=~"cached|computed"')
HEALTHY = "sum by (deployment) (ray_serve_deployment_replica_healthy)"

TRAFFIC = dashboard(
    "traffic",
    "Traffic and SLO",
    "What is asked of the server, how fast it answers, and what it has to refuse.",
    number("Turns", "reqps", rate("turns_total")),
    number(
        "Slow to begin", "percentunit", SLOW, about="LLM Mode turns over 2.5 s to their first words.", bad_from=0.05
    ),
    number("Refused for load", "reqps", rate("refusals_total"), bad_from=0.001),
    number("Crisis turns refused", "short", increase("crisis_turns_refused_total"), about="Must be 0.", bad_from=1),
    graph(
        "Turns by mode and reason", "reqps", (rate("turns_total", "mode, reason"), "{{mode}} {{reason}}"), stacked=True
    ),
    graph("Turns by outcome", "reqps", (rate("turns_total", "outcome"), "{{outcome}}"), stacked=True),
    graph("Time to first words", "s", *quantiles("first_token_seconds", "mode"), about="Agent Mode's come whole."),
    graph("Time between tokens (LLM Mode)", "s", *quantiles("inter_token_seconds")),
    graph("Time of a turn", "s", *quantiles("turn_seconds", "mode")),
    graph("Slow to begin", "percentunit", (SLOW, "over 2.5 s"), about="The objective is 5 %.", most=1),
    graph(
        "Waiting for a permit",
        "short",
        ('sum by (lane, engine) (ray_psychechat_permits{state="waiting"})', "{{lane}} {{engine}}"),
        ('sum by (lane, engine) (ray_psychechat_permits_bound{state="waiting"})', "{{lane}} {{engine}}, at most"),
    ),
    graph("Time in a queue", "s", *quantiles("wait_seconds", "lane"), about="Of the turns that had to wait."),
    graph(
        "Permits held",
        "percentunit",
        (
            'sum by (lane, engine) (ray_psychechat_permits{state="held"}) '
            '/ sum by (lane, engine) (ray_psychechat_permits_bound{state="held"})',
            "{{lane}} {{engine}}",
        ),
        most=1,
    ),
    graph(
        "Refused for load",
        "reqps",
        (rate("refusals_total", "lane, engine, cause"), "{{lane}} {{engine}} {{cause}}"),
        stacked=True,
    ),
    graph(
        "Requests by route and status", "reqps", (rate("http_requests_total", "route, status"), "{{route}} {{status}}")
    ),
    graph("Messages with something left out", "reqps", (rate("left_out_total", "what"), "{{what}}")),
    graph(
        "Background tasks of chat pages",
        "reqps",
        (rate("tasks_total", "kind, outcome"), "{{kind}} {{outcome}}"),
        stacked=True,
    ),
    graph("Healthy replicas", "short", (HEALTHY, "{{deployment}}")),
    graph(
        "Changes of the configuration that are refused",
        "short",
        ("sum by (part) (ray_psychechat_config_refused)", "{{part}}"),
        about="Ingress replicas that serve the old one.",
    ),
)

_TURNS = rate("risk_turns_total")
_UNKNOWN = rate("risk_turns_total", where='level="unknown"')
_HELD = rate("conversation_turns_total", where='state="held"')

SAFETY = dashboard(
    "safety",
    "Safety",
    "What was detected, and what became of it. Counts of labels: no one's words, and no diagnosis.",
    number("Crisis turns", "reqps", rate("crisis_turns_total")),
    number("Crisis turns refused", "short", increase("crisis_turns_refused_total"), about="Must be 0.", bad_from=1),
    number("Crisis events pending", "short", "sum(ray_psychechat_escalations_pending)", bad_from=10),
    number("Safe template", "percentunit", FALLBACKS, about="Of all turns.", bad_from=0.05),
    graph("Turns by risk", "reqps", (rate("risk_turns_total", "level"), "{{level}}"), stacked=True),
    graph("Turns by conversation", "reqps", (rate("conversation_turns_total", "state"), "{{state}}"), stacked=True),
    graph(
        "Turns held, and of unknown risk",
        "percentunit",
        (f"{_HELD} / {rate('conversation_turns_total')}", "held"),
        (f"{_UNKNOWN} / {rate('risk_turns_total')}", "unknown"),
        most=1,
    ),
    graph(
        "Crisis turns by what noticed them", "reqps", (rate("crisis_turns_total", "source"), "{{source}}"), stacked=True
    ),
    graph(
        "Requests that break a rule",
        "reqps",
        (rate("second_looks_total", "result"), "{{result}}"),
        about="By what their words are. A phrase and a crisis are answered; who is unread was refused unread.",
        stacked=True,
    ),
    graph("Phrases overruled", "reqps", (rate("phrases_overruled_total"), "overruled"), about="By the classifier."),
    graph(
        "Crisis turns by kind and language",
        "reqps",
        (rate("crisis_kinds_total", "kind, language"), "{{kind}} {{language}}"),
        about="Untold: no phrase says what it is about.",
        stacked=True,
    ),
    graph("Turns by language", "reqps", (rate("language_turns_total", "language"), "{{language}}"), stacked=True),
    graph("Crisis events", "reqps", (rate("escalations_total", "result"), "{{result}}")),
    graph("Without the classifier", "reqps", (rate("classifier_failures_total", "cause"), "{{cause}}"), stacked=True),
    graph("Safe templates", "reqps", (rate("safe_templates_total", "cause"), "{{cause}}"), stacked=True),
    graph("Output guard", "reqps", (rate("guard_findings_total", "cause, action"), "{{cause}} {{action}}")),
    graph("Review rounds", "short", (mean("review_rounds"), "mean"), (quantile(0.95, "review_rounds"), "p95")),
    graph("Refused drafts", "reqps", (rate("refused_drafts_total"), "refused")),
    graph(
        "The third head",
        "reqps",
        (rate("judgements_total", "mode, result"), "{{mode}} {{result}}"),
        about="Drafts of Agent Mode and sentences of LLM Mode. Unknown fails in a crisis and in a held conversation.",
    ),
    graph("Emotions", "reqps", (rate("emotions_total", "emotion"), "{{emotion}}"), stacked=True),
    graph(
        "Memory",
        "reqps",
        (rate("memory_recalls_total", "result"), "recall {{result}}"),
        (rate("memory_stores_total", "result"), "store {{result}}"),
    ),
)


def vllm(metric: str, by: str = "model_name") -> str:
    return rate(f"ray_vllm_{metric}", by)


ENGINES = dashboard(
    "engines",
    "Engines",
    "vLLM's own metrics, by deployment: batch, cache and speed.",
    graph("Running sequences", "short", ("sum by (model_name) (ray_vllm_num_requests_running)", "{{model_name}}")),
    graph("Waiting in the engine", "short", ("sum by (model_name) (ray_vllm_num_requests_waiting)", "{{model_name}}")),
    graph(
        "KV cache in use",
        "percentunit",
        ("max by (model_name) (ray_vllm_kv_cache_usage_perc)", "{{model_name}}"),
        most=1,
    ),
    graph(
        "Prompt tokens found in the prefix cache",
        "percentunit",
        (f"{vllm('prefix_cache_hits_total')} / {vllm('prefix_cache_queries_total')}", "{{model_name}}"),
        most=1,
    ),
    graph(
        "Tokens",
        "short",
        (vllm("prompt_tokens_total"), "{{model_name}} prompts"),
        (vllm("generation_tokens_total"), "{{model_name}} generated"),
        about="A second.",
    ),
    graph(
        "Tokens of a step",
        "short",
        (quantile(0.95, "ray_vllm_iteration_tokens_total", "model_name"), "p95 {{model_name}}"),
    ),
    graph("Time to first token", "s", *quantiles("ray_vllm_time_to_first_token_seconds", "model_name")),
    graph(
        "Time between tokens",
        "s",
        *quantiles("ray_vllm_inter_token_latency_seconds", "model_name"),
        about="By step: on a CPU several tokens of a stage in JSON may come in one.",
    ),
    graph("Time in the engine's queue", "s", *quantiles("ray_vllm_request_queue_time_seconds", "model_name")),
    graph(
        "Preemptions",
        "ops",
        # vLLM tells Ray of the first, and of none before.
        (
            f"{vllm('num_preemptions_total')} or 0 * sum by (model_name) (ray_vllm_num_requests_running)",
            "{{model_name}}",
        ),
    ),
    graph(
        "Requests at a replica",
        "short",
        ("sum by (deployment, replica) (ray_serve_replica_processing_queries)", "{{deployment}} {{replica}}"),
    ),
    graph("Healthy replicas", "short", (HEALTHY, "{{deployment}}")),
)

STAGES = dashboard(
    "stages",
    "Stages",
    "Where a turn's time and tokens go.",
    graph(
        "Mean time in a stage",
        "s",
        (mean("stage_seconds", "stage"), "{{stage}}"),
        about="All tries and rounds of a turn.",
    ),
    graph("95th percentile", "s", (quantile(0.95, "stage_seconds", "stage"), "{{stage}}")),
    graph(
        "Time spent in stages",
        "short",
        (rate("stage_seconds_sum", "stage"), "{{stage}}"),
        stacked=True,
        about="Turns at once.",
    ),
    graph("Stages", "reqps", (rate("stage_seconds_count", "stage"), "{{stage}}")),
    graph("Generated tokens", "short", (rate("tokens_total", "stage", 'kind="generated"'), "{{stage}}"), stacked=True),
    graph(
        "Prompt tokens found in the cache",
        "percentunit",
        (f"{_CACHED} / {_PROMPTS}", "{{stage}}"),
        most=1,
    ),
    graph(
        "Computed prompt tokens", "short", (rate("tokens_total", "stage", 'kind="computed"'), "{{stage}}"), stacked=True
    ),
    graph("Thinking", "short", (rate("reasoning_tokens_total"), "tokens a second")),
    graph("Answers that did not parse", "reqps", (rate("stage_malformed_total", "stage"), "{{stage}}")),
    graph("Cut at the length bound", "reqps", (rate("stage_truncated_total"), "drafts")),
)


def files() -> Iterator[tuple[Path, str]]:
    for name, built in (("traffic", TRAFFIC), ("safety", SAFETY), ("engines", ENGINES), ("stages", STAGES)):
        text = json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False)
        yield FOLDER / f"{name}.json", text + "\n"


if __name__ == "__main__":
    for path, text in files():
        path.write_text(text, "utf-8")
