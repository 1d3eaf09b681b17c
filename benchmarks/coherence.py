"""Do the demo's replies hang together? Twenty fixed messages a language, through the whole server.

A reply is coherent if it stops by itself, is in the seeker's language, shares a content word with the message and
repeats no 4-gram. That is a low bar on purpose: the demo counselor is a few million weights on two cores.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from openai import OpenAI
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.provenance import today
from psychechat.emotion import Language
from psychechat.language import detect
from tests.support import servers
from tests.support.messages import ORDINARY

MODELS = ("psychechat", "psychechat-agent", "psychechat-llm")

# Words that say nothing of what a message is about.
_EMPTY_EN = frozenset(
    (
        "about after again always and anymore are been but can cannot does ever every feel feeling finally from have "
        "her him his how into just keep know last like made make more much nothing never not now only really say says "
        "she so some than that the their them then there they this through time very was what when where which who "
        "will with without you your sound sounds "
    ).split()
)
_EMPTY_ZH = frozenset("的了我你是在和很也都就不有一个这那什么吗呢吧啊着过要会能把对让被给又再还没说到得地为以因所")


def content_words(text: str, language: Language) -> set[str]:
    """English: the first five letters of words of three or more. Chinese: pairs of characters that carry meaning."""
    if language == "en":
        return {word[:5] for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in _EMPTY_EN}
    han = re.findall(r"[一-鿿]+", text)
    pairs = {run[i : i + 2] for run in han for i in range(len(run) - 1)}
    return {pair for pair in pairs if not set(pair) & _EMPTY_ZH}


def repeats_4_gram(text: str, language: Language) -> bool:
    """Of words in English, of characters in Chinese."""
    units = re.findall(r"[a-z']+", text.lower()) if language == "en" else re.findall(r"[一-鿿]", text)
    grams = [tuple(units[i : i + 4]) for i in range(len(units) - 3)]
    return len(set(grams)) < len(grams)


def judge(message: str, reply: str, finish_reason: str, language: Language) -> dict[str, bool]:
    return {
        "stops": finish_reason == "stop",
        "language": detect(reply) == language,
        "shares_a_content_word": bool(content_words(message, language) & content_words(reply, language)),
        "no_4_gram_twice": not repeats_4_gram(reply, language),
    }


def ask(client: OpenAI, model: str, language: Language) -> list[dict[str, Any]]:
    rows = []
    for message in track(ORDINARY[language], f"{model}, {language}", transient=True):
        reply = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": message}], temperature=0.0
        )
        text, finish = reply.choices[0].message.content or "", reply.choices[0].finish_reason
        verdict = judge(message, text, finish, language)
        found: dict[str, Any] = (reply.model_extra or {})["psychechat"]
        rows.append(
            {"message": message, "reply": text, "mode": found["mode"], "fallback": found["review"]["fallback"]}
            | verdict
            | {"coherent": all(verdict.values())}
        )
    return rows


def main(
    url: Annotated[str | None, typer.Option(help="A server that is running, e.g. http://127.0.0.1:8000.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the results. [benchmarks/results/DATE]")] = None,
) -> None:
    """Ask all three models, count what is coherent and write coherence.json, with every reply to read."""
    console = Console()
    if url is None:
        with servers.psychechat(8321, Path(tempfile.gettempdir()) / "coherence.log") as server:
            with console.status("Starting the server ..."):
                server.wait_until_ready()
            rows = _ask_all(server.url)
    else:
        rows = _ask_all(url)
    table = Table(
        "model", "language", "coherent", "stops", "language kept", "content word", "no repetition", "safe template"
    )
    counts: dict[str, dict[str, int]] = {}
    for (model, language), asked in rows.items():
        names = ("coherent", "stops", "language", "shares_a_content_word", "no_4_gram_twice", "fallback")
        counts[f"{model} {language}"] = {name: sum(row[name] for row in asked) for name in names}
        table.add_row(model, language, *(f"{counts[f'{model} {language}'][name]}/{len(asked)}" for name in names))
    console.print(table)
    folder = today(output)
    replies = {f"{model} {language}": asked for (model, language), asked in rows.items()}
    about = {"command": "python -m benchmarks.coherence", "counts": counts, "replies": replies}
    (folder / "coherence.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", "utf-8")
    console.print(f"Written to {folder}")


def _ask_all(url: str) -> dict[tuple[str, Language], list[dict[str, Any]]]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300) as client:
        return {(model, language): ask(client, model, language) for model in MODELS for language in ORDINARY}


if __name__ == "__main__":
    typer.run(main)
