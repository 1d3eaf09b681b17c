"""A few minutes of speed beside vLLM's own OpenAI server, on the same weights and the same prompts.

Both servers run at once, each with its counselor engine on the same core, and take turns: one waits while the other
is loaded. What is compared is LLM Mode: first words of the reply (after the thinking), a whole turn, and generated
tokens per second. Absolute figures on a small machine mean little; the ratios are what to read.
"""

import asyncio
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from openai import AsyncOpenAI
from rich.console import Console
from rich.table import Table

from benchmarks import servers
from benchmarks.provenance import provenance, today
from benchmarks.servers import Server
from psychechat.conversation import Conversation, Utterance
from psychechat.engines.base import StageName
from psychechat.language import detect
from psychechat.pipeline import packs
from psychechat.pipeline.packs import Brief

COUNSELOR_CORE = 1
"""Where the demo configuration puts its counselor."""
MESSAGES = (
    "I moved to a new city and I miss my friends.",
    "My manager keeps giving me more work and I cannot say no.",
    "I passed my driving test today!",
    "My sister and I have not spoken since the wedding.",
    "我最近总是睡不好，白天也没精神。",
    "和室友吵架以后，我不想回宿舍。",
    "我终于找到了新工作，很开心。",
    "奶奶住院了，我很担心她。",
)


@dataclass(frozen=True)
class Sample:
    """Seconds of one turn, and the tokens its reply took, thinking included."""

    first_words: float
    whole: float
    tokens: int


@dataclass(frozen=True)
class Row:
    server: str
    concurrency: int
    round: int
    first_words_p50: float
    whole_p50: float
    tokens_per_second: float


async def one(client: AsyncOpenAI, model: str, messages: Sequence[Any], bound: int) -> Sample:
    """Stream one reply. vLLM's own server streams the thinking as content, so it is skipped for the first words."""
    start = time.perf_counter()
    first, seen, tokens = 0.0, "", 0
    stream = await client.chat.completions.create(
        model=model,
        messages=messages,
        max_completion_tokens=bound,
        temperature=0.0,
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        if chunk.usage is not None:
            tokens = chunk.usage.completion_tokens
        seen += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        spoken = seen.rpartition("</think>")[2] if seen.startswith("<think>") else seen
        if not first and spoken.strip() and not (seen.startswith("<think>") and "</think>" not in seen):
            first = time.perf_counter() - start
    whole = time.perf_counter() - start
    return Sample(first or whole, whole, tokens)


def prompt(text: str) -> list[dict[str, str]]:
    """What the server makes of a first message for LLM Mode, so that vLLM's own server computes the same tokens."""
    brief = Brief(Conversation((Utterance("seeker", text),)))
    messages = packs.load(detect(text) or "en").messages(StageName.REPLY, brief)
    return [{"role": message.role, "content": message.content} for message in messages]


async def load(server: Server, concurrency: int, turns: int, bound: int, number: int) -> Row:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=300) as client:
        gate = asyncio.Semaphore(concurrency)

        async def turn(index: int) -> Sample:
            text = MESSAGES[index % len(MESSAGES)]
            async with gate:
                if server.name == "psychechat":
                    return await one(client, "psychechat-llm", [{"role": "user", "content": text}], bound)
                return await one(client, "counselor", prompt(text), bound)

        start = time.perf_counter()
        samples = await asyncio.gather(*(turn(index) for index in range(turns)))
        spent = time.perf_counter() - start
    return Row(
        server.name,
        concurrency,
        number,
        statistics.median(sample.first_words for sample in samples),
        statistics.median(sample.whole for sample in samples),
        sum(sample.tokens for sample in samples) / spent,
    )


async def measure(
    servers: Sequence[Server], levels: Sequence[int], rounds: int, turns: int, bound: int, console: Console
) -> list[Row]:
    rows: list[Row] = []
    for server in servers:
        await load(server, 4, len(MESSAGES), bound, 0)  # warms caches; not kept
    for number in range(1, rounds + 1):
        for concurrency in levels:
            for server in servers:
                rows.append(await load(server, concurrency, turns, bound, number))
                console.log(rows[-1])
    return rows


def report(rows: Sequence[Row], levels: Sequence[int], console: Console) -> list[dict[str, float]]:
    table = Table("concurrent", "first words s", "vLLM", "whole s", "vLLM", "tokens/s", "vLLM", "ratio")
    summary = []
    for concurrency in levels:
        at: dict[str, dict[str, float]] = {}
        for server in ("psychechat", "vllm"):
            mine = [asdict(row) for row in rows if row.server == server and row.concurrency == concurrency]
            names = ("first_words_p50", "whole_p50", "tokens_per_second")
            at[server] = {name: statistics.median(row[name] for row in mine) for name in names}
        us, them = at["psychechat"], at["vllm"]
        ratio = us["tokens_per_second"] / them["tokens_per_second"]
        cells = [value for name in us for value in (us[name], them[name])]
        table.add_row(str(concurrency), *(f"{cell:.3g}" for cell in cells), f"{ratio:.2f}")
        summary.append({"concurrency": concurrency, "tokens_per_second_ratio": round(ratio, 3)})
        for name in us:
            summary[-1] |= {f"psychechat_{name}": round(us[name], 4), f"vllm_{name}": round(them[name], 4)}
    console.print(table)
    return summary


def main(
    rounds: Annotated[int, typer.Option(help="How often the servers take turns at each level.")] = 3,
    turns: Annotated[int, typer.Option(help="Turns in one go.")] = 16,
    bound: Annotated[int, typer.Option(help="Tokens a reply may take, thinking included.")] = 160,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results [default: benchmarks/results/DATE].")
    ] = None,
) -> None:
    """Measure LLM Mode beside vLLM's own server and write smoke.csv and smoke.json."""
    console = Console()
    levels = (1, 4, 16)
    logs = Path(tempfile.gettempdir())
    with (
        servers.vllm(8322, logs / "smoke-vllm.log", core=COUNSELOR_CORE) as theirs,
        servers.psychechat(8321, logs / "smoke-psychechat.log") as ours,
    ):
        with console.status("Starting both servers (two or three minutes) ..."):
            ours.wait_until_ready()
            theirs.wait_until_ready()
        rows = asyncio.run(measure((ours, theirs), levels, rounds, turns, bound, console))
    summary = report(rows, levels, console)
    folder = today(output)
    with (folder / "smoke.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(map(asdict, rows))
    command = f"python -m benchmarks.smoke --rounds {rounds} --turns {turns} --bound {bound}"
    about = provenance(command) | {"medians": summary}
    (folder / "smoke.json").write_text(json.dumps(about, indent=2) + "\n")
    console.print(f"Written to {folder}")


if __name__ == "__main__":
    typer.run(main)
