"""The runs by name: their steps, in order, with what each may take."""

from collections.abc import Sequence

from benchmarks.gpu.budget import Step

_KERNEL, _SERVE = "benchmarks.gpu.kernel", "benchmarks.gpu.serve"

KERNEL = (
    Step(
        "machine",
        "versions, the bandwidth of a copy, an empty kernel",
        f"{_KERNEL}.machine",
        seconds=20,
    ),
    Step(
        "compile",
        "every variant with every tuning, in as many processes as there are cores",
        f"{_KERNEL}.compiling",
        seconds=60,
        least=10,
        interpreted=False,
    ),
    Step("tests", "the tests that need a GPU, then as many others as there is time for", f"{_KERNEL}.tests", 100, 20),
    Step("sweep", "tunings on five cases, from a graph with cold caches", f"{_KERNEL}.sweep", 130, 20),
    Step("benchmark", "beside the others with the best tuning, largest cases first", f"{_KERNEL}.beside", 130, 20),
    Step("profile", "Nsight Compute on one large case", f"{_KERNEL}.profile", 40, 10),
)


def serve(*, rehearse: bool) -> tuple[Step, ...]:
    """A small model before the large one: what does not start shows early. A rehearsal has a tiny one alone."""

    def server(model: str, kind: str, batched: int, seconds: float, least: float) -> Step:
        named = {"ours": "our server", "vllm": "vLLM's own server"}[kind]
        return Step(
            f"{model}-{kind}-{batched}",
            f"{named}, Qwen3 {model} with random weights, max_num_batched_tokens {batched}",
            f"{_SERVE}.measuring",
            seconds,
            least,
            grace=60,
            options={"model": model, "server": kind, "batched": batched},
        )

    head = (
        Step("machine", "versions, GPU, which conversations", f"{_SERVE}.machine", 30),
        Step("models", "folders with a config and a tokenizer; weights are made by vLLM", f"{_SERVE}.models", 30, 5),
    )
    if rehearse:
        return *head, server("tiny", "ours", 2048, 200, 0), server("tiny", "vllm", 2048, 100, 0)
    return (
        *head,
        server("0.6B", "ours", 8192, 260, 150),
        server("0.6B", "vllm", 8192, 160, 90),
        server("8B", "ours", 8192, 360, 200),
        server("8B", "vllm", 8192, 240, 120),
        server("8B", "ours", 2048, 350, 200),
        server("8B", "ours", 4096, 350, 200),
    )


def steps(run: str, *, rehearse: bool) -> Sequence[Step]:
    return KERNEL if run == "kernel" else serve(rehearse=rehearse)


def step(run: str, name: str, *, rehearse: bool) -> Step:
    """Raises KeyError if the run has none of this name."""
    return {step.name: step for step in steps(run, rehearse=rehearse)}[name]
