"""`psychechat size`: what of a model fits on a GPU, what to set, and what to expect of it."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from psychechat.commands.console import fail, printable
from psychechat.sizing import pace, shapes
from psychechat.sizing.cards import CARDS, GIB, Card
from psychechat.sizing.memory import Asked, Fit, kv_heads, kv_token_bytes, remedies, weight_bytes
from psychechat.sizing.shapes import Shape, UnknownShape

GATHER_SECONDS = 0.25
"""To set where a GPU writes."""
_DEFAULT = Asked()


def size(
    model: Annotated[
        str,
        typer.Option(
            help="A folder with a config.json, that file, a known model (Qwen3-8B and others, listed if the name is "
            "none) or one on the hub. Example: --model ./our-counselor",
        ),
    ] = "Qwen/Qwen3-8B",
    gpu: Annotated[
        int | None,
        typer.Option(help=f"Gigabytes of the card: {', '.join(map(str, CARDS))}. Without it, all.", show_default=False),
    ] = None,
    tensor_parallel_size: Annotated[
        int, typer.Option(min=1, help="Cards that are one engine together.")
    ] = _DEFAULT.tensor_parallel_size,
    gpu_memory_utilization: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Of the card, for this engine. 0.85 leaves the classifier its part."),
    ] = _DEFAULT.gpu_memory_utilization,
    quantization: Annotated[
        Literal["none", "fp8"], typer.Option(help="none: the weights as the checkpoint has them.")
    ] = "none",
    kv_cache_dtype: Annotated[
        Literal["auto", "fp8"],
        typer.Option(help="fp8 halves the KV memory; measure what it does to your replies. No A100 reads it."),
    ] = "auto",
    max_model_len: Annotated[
        int, typer.Option(min=1, help="The longest context of one call, in tokens.")
    ] = _DEFAULT.max_model_len,
    sequence_tokens: Annotated[
        int, typer.Option(min=1, help="Assumed: tokens of a sequence at the mean, prompt and answer.")
    ] = _DEFAULT.sequence_tokens,
    working_gib: Annotated[
        float, typer.Option(min=0.0, help="Assumed: GiB of a card beside weights and KV.")
    ] = _DEFAULT.working_gib,
    tokens_a_second: Annotated[
        float, typer.Option(min=0.1, help="Assumed: what each stream should have. People read some 6 a second.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Reckon a counselor's size: what fits on a card, what to set, and how many streams that carries.

    Weights and KV memory are arithmetic, as vLLM does it. The rest follows from what is assumed, which is listed apart:
    measure it on your GPU before you promise anything. The options that vLLM has are named as there.

    \b
    psychechat size                                       Qwen3-8B on every card
    psychechat size --model Qwen3-14B --gpu 80            what to set on one of 80 GB
    psychechat size --model ./our-counselor --gpu 24 --quantization fp8
    psychechat size --model Qwen3-32B --gpu 80 --tensor-parallel-size 2 --json
    """
    if gpu is not None and gpu not in CARDS:
        fail(f"--gpu {gpu} is no card that is known: take one of {', '.join(map(str, CARDS))}, the next smaller one.")
    try:
        shape = shapes.of(model)
    except UnknownShape as error:
        fail(f"{printable(str(error))}.")
    asked = Asked(
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_utilization=gpu_memory_utilization,
        quantization="fp8" if quantization == "fp8" else None,
        kv_cache_dtype=kv_cache_dtype,
        max_model_len=max_model_len,
        sequence_tokens=sequence_tokens,
        working_gib=working_gib,
    )
    _check(model, shape, asked)
    fits = [Fit(shape, asked, card) for card in ([CARDS[gpu]] if gpu else CARDS.values())]
    if as_json:
        typer.echo(json.dumps(_as_json(model, fits, tokens_a_second), indent=2))
    else:
        _show(model, fits, tokens_a_second)
    if not any(fit.serves for fit in fits):
        fail(_does_not_fit(model, fits[-1]))


def _check(model: str, shape: Shape, asked: Asked) -> None:
    if shape.heads % asked.tensor_parallel_size:
        fail(f"--tensor-parallel-size {asked.tensor_parallel_size} does not divide the model's {shape.heads} heads.")
    if asked.max_model_len > shape.max_positions:
        fail(
            f"{printable(model)} was made for {shape.max_positions} tokens: lower --max-model-len "
            f"{asked.max_model_len} to that."
        )
    if asked.sequence_tokens > asked.max_model_len:
        fail("--sequence-tokens is more than --max-model-len, which no sequence exceeds: lower it.")


def _does_not_fit(model: str, fit: Fit) -> str:
    card, weights = fit.card, weight_bytes(fit.shape, fit.asked) / GIB
    would = remedies(fit, CARDS)
    told = f"What would: {'; '.join(would)}." if would else "Take more or larger cards, or a smaller model."
    if not fit.reads_kv:
        return f"{printable(model)} does not fit on {_on(fit)}: {_a(card.name)} reads no KV memory in fp8. {told}"
    if fit.kv_bytes < 0:
        why = f"the weights alone want {weights:.1f} GiB and {fit.asked.working_gib} GiB to work in"
    else:
        why = f"{fit.kv_tokens} tokens of KV memory are left, and one call may want {fit.asked.max_model_len}"
    share = card.memory * fit.asked.gpu_memory_utilization
    return f"{printable(model)} does not fit on {_on(fit)}: of {share:.1f} GiB {why}. {told}"


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'AL' else 'a'} {name}"


def _on(fit: Fit) -> str:
    number = fit.asked.tensor_parallel_size
    return f"{'a card' if number == 1 else f'{number} cards'} of {fit.card.gigabytes} GB"


def _assumed(asked: Asked, cards: Iterable[Card], tokens_a_second: float) -> dict[str, Any]:
    """What the sizes rest on and nobody has measured here, but for the ingress."""
    return {
        "sequence_tokens": asked.sequence_tokens,
        "working_gib": asked.working_gib,
        "tokens_a_second": tokens_a_second,
        "bandwidth_share": pace.BANDWIDTH_SHARE,
        "flops_share": pace.FLOPS_SHARE,
        "prefill_seconds": pace.PREFILL_SECONDS,
        "most_sequences": pace.MOST_SEQUENCES,
        "streams_a_core": pace.STREAMS_A_CORE,
        "cards": {
            card.gigabytes: {
                "name": card.name,
                "memory_gib": card.memory,
                "bandwidth_gb_s": card.bandwidth / 1e9,
                "tflops": card.flops / 1e12,
            }
            for card in cards
        },
    }


def _as_json(model: str, fits: list[Fit], tokens_a_second: float) -> dict[str, Any]:
    shape, asked = fits[0].shape, fits[0].asked
    return {
        "model": model,
        "arithmetic": {
            "parameters": shape.parameters,
            "weight_bytes_a_card": weight_bytes(shape, asked),
            "kv_bytes_a_token_and_card": kv_token_bytes(shape, asked),
        },
        "assumed": _assumed(asked, (fit.card for fit in fits), tokens_a_second),
        "cards": [_card_json(model, fit, tokens_a_second) for fit in fits],
    }


def _card_json(model: str, fit: Fit, tokens_a_second: float) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "gpu": fit.card.gigabytes,
        "cards": fit.asked.tensor_parallel_size,
        "arithmetic": {"kv_cache_memory_bytes": max(0, fit.kv_bytes), "kv_tokens": fit.kv_tokens},
        "fits": fit.serves,
    }
    if not fit.serves:
        return payload | {"why": _does_not_fit(model, fit), "would": remedies(fit, CARDS)}
    payload["arithmetic"]["sequences"] = fit.sequences
    expected = pace.estimate(fit, tokens_a_second)
    return payload | {
        "settings": _settings(fit),
        "estimated": {
            "streams": expected.streams,
            "tokens_a_second_when_full": round(expected.tokens_when_full, 1),
            "ingress_cores": expected.ingress_cores,
        },
    }


def _settings(fit: Fit) -> dict[str, Any]:
    """Of the engine."""
    asked, expected = fit.asked, pace.estimate(fit)
    engine_args: dict[str, Any] = {
        "max_model_len": asked.max_model_len,
        "max_num_batched_tokens": expected.max_num_batched_tokens,
        "gpu_memory_utilization": asked.gpu_memory_utilization,
    }
    if asked.tensor_parallel_size > 1:
        engine_args["tensor_parallel_size"] = asked.tensor_parallel_size
    if asked.quantization:
        engine_args["quantization"] = asked.quantization
    if asked.kv_cache_dtype != "auto":
        engine_args["kv_cache_dtype"] = asked.kv_cache_dtype
    if fit.attention_backend:
        engine_args["attention_backend"] = fit.attention_backend
    return {
        "max_num_seqs": expected.max_num_seqs,
        "sequence_tokens": asked.sequence_tokens,
        "gather_seconds": GATHER_SECONDS,
        "engine_args": engine_args,
    }


def _show(model: str, fits: list[Fit], tokens_a_second: float) -> None:
    console = Console(highlight=False)
    shape, asked = fits[0].shape, fits[0].asked
    number = asked.tensor_parallel_size
    lines = [
        f"{printable(model)}, {'one card' if number == 1 else f'{number} cards'} an engine",
        "",
        "Arithmetic, of its config.json and the options:",
        *_arithmetic_lines(shape, asked),
        "",
        "Assumed, to be replaced by what you measure:",
        *_assumed_lines(fits, tokens_a_second),
        "",
        f"Fits, by arithmetic ({asked.gpu_memory_utilization:.0%} of the card less working room and weights):",
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    console.print(_fits_table(fits))
    serving = [fit for fit in fits if fit.serves]
    if not serving:
        return
    console.print("To set and to expect, by what is assumed:", soft_wrap=True)
    console.print(_pace_table(serving, tokens_a_second))
    for fit in fits:
        if not fit.serves:
            console.print(_does_not_fit(model, fit), markup=False, soft_wrap=True)
    if len(fits) == 1:
        _show_settings(console, fits[0])


def _arithmetic_lines(shape: Shape, asked: Asked) -> list[str]:
    heads, number_bytes = kv_heads(shape, asked), 1 if asked.kv_cache_dtype == "fp8" else 2
    of_heads = f"2 x {shape.layers} layers x {heads} heads x {shape.head_dim} x {number_bytes} bytes"
    return [
        f"  weights       {shape.parameters:,} parameters, {weight_bytes(shape, asked) / GIB:.2f} GiB a card",
        f"  KV            {kv_token_bytes(shape, asked):,} bytes a token and card: {of_heads}",
    ]


def _assumed_lines(fits: list[Fit], tokens_a_second: float) -> list[str]:
    asked = fits[0].asked
    return [
        f"  a sequence    {asked.sequence_tokens:,} tokens at the mean (--sequence-tokens)",
        f"  working room  {asked.working_gib:g} GiB a card beside weights and KV (--working-gib)",
        f"  a stream      {tokens_a_second:g} tokens a second (--tokens-a-second)",
        f"  decoding      {pace.BANDWIDTH_SHARE:.0%} of the card's bandwidth, {pace.MOST_SEQUENCES} sequences at most",
        f"  prefill       {pace.FLOPS_SHARE:.0%} of its FLOPS; a full step of it {pace.PREFILL_SECONDS:g} s at most",
        *(
            f"  {f'{card.gigabytes} GB':<13} {card.name}: {card.memory:g} GiB, {card.bandwidth / 1e9:,.0f} GB/s, "
            f"{card.flops / 1e12:.0f} TFLOPS"
            for card in (fit.card for fit in fits)
        ),
        f"  ingress       {pace.STREAMS_A_CORE} streams a core (measured, on two CPU cores)",
    ]


def _fits_table(fits: list[Fit]) -> Table:
    table = Table("card", "KV GiB", "KV tokens", "sequences", box=box.SIMPLE_HEAD)
    for fit in fits:
        room = (f"{fit.kv_bytes / GIB:.1f}", f"{fit.kv_tokens:,}", f"{fit.sequences:,}")
        table.add_row(f"{fit.card.gigabytes} GB", *(room if fit.serves else ("does not fit", "", "")))
    return table


def _pace_table(fits: list[Fit], tokens_a_second: float) -> Table:
    columns = ("card", "max_num_seqs", "max_num_batched_tokens", "streams", "tokens/s when full", "ingress cores")
    table = Table(*columns, box=box.SIMPLE_HEAD)
    for fit in fits:
        estimate = pace.estimate(fit, tokens_a_second)
        numbers = (
            estimate.max_num_seqs,
            estimate.max_num_batched_tokens,
            estimate.streams,
            round(estimate.tokens_when_full),
        )
        table.add_row(f"{fit.card.gigabytes} GB", *map(str, numbers), str(estimate.ingress_cores))
    return table


def _show_settings(console: Console, fit: Fit) -> None:
    settings = _settings(fit)
    arguments = ", ".join(f"{name}: {value}" for name, value in settings.pop("engine_args").items())
    lines = [*(f"{name}: {value}" for name, value in settings.items()), f"engine_args: {{{arguments}}}"]
    console.print("As settings:\n\ncounselor:", soft_wrap=True)
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print(
        f"\nWhere another engine with KV memory shares the card, kv_cache_memory_bytes: {fit.kv_bytes} in engine_args "
        "stands beside gpu_memory_utilization, which must be no more than what is free when it starts.",
        soft_wrap=True,
    )
