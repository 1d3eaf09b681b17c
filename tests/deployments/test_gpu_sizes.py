"""What comes with the package for GPUs follows `psychechat size`, and so does the table in docs/scaling.md."""

import json
import re
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml

from psychechat.commands.size import GATHER_SECONDS
from psychechat.config import GeneratorSettings, Settings
from psychechat.sizing import pace, shapes
from psychechat.sizing.cards import CARDS
from psychechat.sizing.memory import Asked, Fit

ROOT = Path(__file__).parents[2]
ON = {
    "deployments/configs/single-gpu.yaml": {"counselor": 80},
    "deployments/configs/multi-gpu.yaml": {"counselor": 80, "seeker": 80},
    "deployments/configs/psychechat-8b.yaml": {"counselor": 80, "llm-counselor": 80, "seeker": 80},
    "deployments/configs/psychechat-8b-four-gpus.yaml": {"counselor": 40, "llm-counselor": 40, "seeker": 40},
    "helm/ci/production-values.yaml": {"counselor": 80},
    "helm/ci/psychechat-values.yaml": {"counselor": 40, "llm-counselor": 40, "seeker": 40},
    "helm/ci/single-gpu-values.yaml": {"counselor": 80},
    "helm/ci/multi-gpu-values.yaml": {"counselor": 80, "seeker": 48},
}
"""The card of each engine, in GB."""
ENGINES = [(file, engine) for file, engines in ON.items() for engine in engines]


def written(file: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / file).read_text("utf-8"))
    return content


def settings(file: str) -> Settings:
    content = written(file)
    return Settings.model_validate(content.get("app", content))


def fit(engine: GeneratorSettings, gigabytes: int) -> Fit:
    args = dict(engine.engine_args)
    asked = Asked(
        gpu_memory_utilization=args["gpu_memory_utilization"],
        quantization=args.get("quantization"),
        kv_cache_dtype=args.get("kv_cache_dtype", "auto"),
        max_model_len=args["max_model_len"],
        sequence_tokens=engine.sequence_tokens,
    )
    published = engine.model.startswith("Johnnyfans/PsycheChat-") and engine.model.endswith("-Qwen3-8B")
    return Fit(shapes.of("Qwen/Qwen3-8B" if published else engine.model), asked, CARDS[gigabytes])


def test_every_configuration_with_a_gpu_is_looked_at() -> None:
    files = [*ROOT.glob("deployments/configs/*.yaml"), *ROOT.glob("helm/ci/*.yaml")]
    with_gpus = {str(file.relative_to(ROOT)) for file in files if "num_gpus" in file.read_text("utf-8")}
    assert with_gpus == set(ON)
    for file in ON:
        assert ON[file].keys() == settings(file).engines.keys()


@pytest.mark.parametrize(("file", "name"), ENGINES)
def test_an_engine_is_set_as_its_card_is_sized(file: str, name: str) -> None:
    engine, gigabytes = settings(file).engines[name], ON[file][name]
    found = fit(engine, gigabytes)
    assert found.serves
    said = engine.engine_args.get("kv_cache_memory_bytes", found.kv_bytes)
    assert 0 <= found.kv_bytes - said < 0.01 * found.kv_bytes
    expected = pace.estimate(found)
    assert engine.max_num_seqs == expected.max_num_seqs
    assert engine.sequences(found.kv_tokens) == engine.max_num_seqs, "permits are bound by sequences, not by memory"
    assert engine.engine_args["max_num_batched_tokens"] == expected.max_num_batched_tokens
    assert engine.gather_seconds == GATHER_SECONDS
    assert engine.engine_args.get("attention_backend") == found.attention_backend


@pytest.mark.parametrize("file", [file for file in ON if "multi" in file])
def test_there_are_ingress_cores_for_all_streams_that_are_let_in(file: str) -> None:
    """Of the least engines and of the most."""
    read = settings(file)
    a_counselor = pace.estimate(fit(read.engines["counselor"], ON[file]["counselor"])).streams
    for replicas, counselors in ((read.ingress.least, "least"), (read.ingress.most, "most")):
        running = {name: getattr(engine.replicas, counselors) for name, engine in read.engines.items()}
        let_in = replicas * read.generations("counselor", running | {"ingress": replicas})
        streams = min(a_counselor * running["counselor"], let_in)
        assert replicas >= ceil(streams / pace.STREAMS_A_CORE), f"{streams} streams of {counselors} engines"


def test_single_gpu_serves_on_a_smaller_card_with_what_that_holds() -> None:
    """As its comment says, from 40 GB on."""
    engine = settings("deployments/configs/single-gpu.yaml").engines["counselor"]
    for gigabytes, serves in ((24, False), (40, True), (48, True), (141, True)):
        found = fit(engine, gigabytes)
        assert found.serves is serves
        if serves and gigabytes < 80:
            assert 2 <= engine.sequences(found.kv_tokens) < engine.max_num_seqs


def test_the_table_of_computed_sizes_is_computed() -> None:
    lines = (ROOT / "docs/scaling.md").read_text("utf-8").splitlines()
    for model in ("Qwen3-8B", "Qwen3-14B", "Qwen3-32B"):
        for gigabytes, card in CARDS.items():
            assert _row(model, Fit(shapes.of(model), Asked(), card)) in lines, f"{model} on {gigabytes} GB"


def test_measured_figures_in_scaling_are_those_of_the_files_that_it_names() -> None:
    text = (ROOT / "docs/scaling.md").read_text("utf-8")
    speed, encoder, ingress = (
        json.loads((ROOT / "docs" / re.findall(rf"\]\((\S+/{name}\.json)\)", text)[0]).read_text("utf-8"))
        for name in ("speed", "encoder", "ingress")
    )
    scale = speed["parts"]["scale"]["facts"]
    late = {row["streams"]: row["added_ms"]["p99"] for row in scale["curve"]}
    milliseconds = [
        median(row["cpu_ms"] for row in encoder["rows"] if (row["side"], row["load"]) == (side, load))
        for side in ("half products", "float32")
        for load in ("batch", "single")
    ]
    told = "{:.1f} and {:.1f} ms of a core with products in bf16, {:.1f} and {:.1f} ms in float32".format(*milliseconds)
    costs = [round(row["all_ms"]) for row in scale["cpu_ms_per_stream_second"]]
    for figure in (
        told,
        f"{pace.STREAMS_A_CORE} streams of {scale['pace']} tokens a second",
        f"of 50: {late[50]:.0f} ms",
        f"{costs[0]} ms of all processes with one of each, {costs[1]} with two, {costs[2]} with four",
        f"the ingress {ingress['medians']['this']['piece_ms']:.2f} ms",
        f"replica {ingress['medians']['this']['piece_engine_ms']:.2f}",
        f"{ingress['medians']['this']['start_ms']:.0f} ms of them for each turn's start",
    ):
        assert figure in " ".join(text.split()), figure


def _row(model: str, found: Fit) -> str:
    if not found.serves:
        return f"| {model} | {found.card.gigabytes} GB | does not fit | |"
    sequences = pace.suggested_sequences(found)
    return f"| {model} | {found.card.gigabytes} GB | {found.kv_tokens:,} | {sequences} |"
