"""Do the demo's replies hang together? Twenty fixed messages a language, through the whole server.

A reply is coherent if it stops by itself, is in the seeker's language, shares a content word with the message and
repeats no 4-gram. That is a low bar on purpose: the demo counselor is a few million weights on two cores.
"""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from openai import OpenAI
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import servers
from psychechat.emotion import Language
from psychechat.language import detect

RESULTS = Path(__file__).parent / "results"
MODELS = ("psychechat", "psychechat-agent", "psychechat-llm")
MESSAGES: Mapping[Language, Sequence[str]] = {
    "en": (
        "I lost my job last week and I feel useless.",
        "My best friend moved to another country and I miss her.",
        "I have an exam tomorrow and I cannot stop worrying.",
        "My boss shouted at me in front of the whole team.",
        "I cannot sleep, I keep thinking about work.",
        "My parents argue every evening and I hide in my room.",
        "I finally passed my driving test, I am so proud!",
        "My dog died on Sunday and the house is so quiet.",
        "I feel lonely since I came to this city.",
        "My boyfriend broke up with me by text message.",
        "I am afraid of speaking in the meeting on Friday.",
        "My son does not talk to me anymore.",
        "I owe money to my brother and I am ashamed.",
        "I got the new job, I start on Monday!",
        "My mother is in hospital and I am scared.",
        "I failed the math test again.",
        "My roommate eats my food and never says sorry.",
        "I feel tired all the time and nothing is fun.",
        "I made up with my sister after two years.",
        "I do not know what to do after school.",
    ),
    "zh": (
        "我上周丢了工作，觉得自己很没用。",
        "我最好的朋友搬去了国外，我很想她。",
        "明天就要考试了，我一直很担心。",
        "老板当着全组人的面骂了我。",
        "我睡不着，一直在想工作的事。",
        "爸妈每天晚上都吵架，我只能躲在房间里。",
        "我终于考过了驾照，太开心了！",
        "我的狗星期天死了，家里好安静。",
        "来到这个城市以后我一直很孤单。",
        "男朋友发短信和我分手了。",
        "我很怕星期五在会议上发言。",
        "儿子不再和我说话了。",
        "我欠了弟弟的钱，觉得很羞愧。",
        "我拿到了新工作，下周一就上班！",
        "妈妈住院了，我很害怕。",
        "我的数学考试又没有及格。",
        "室友总吃我的东西，从来不道歉。",
        "我总是很累，做什么都没意思。",
        "两年以后我终于和姐姐和好了。",
        "毕业以后我不知道该做什么。",
    ),
}
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
    for message in track(MESSAGES[language], f"{model}, {language}", transient=True):
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
    folder = output or RESULTS / datetime.now(UTC).date().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    replies = {f"{model} {language}": asked for (model, language), asked in rows.items()}
    about = {"command": "python -m benchmarks.coherence", "counts": counts, "replies": replies}
    (folder / "coherence.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", "utf-8")
    console.print(f"Written to {folder}")


def _ask_all(url: str) -> dict[tuple[str, Language], list[dict[str, Any]]]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300) as client:
        return {(model, language): ask(client, model, language) for model in MODELS for language in MESSAGES}


if __name__ == "__main__":
    typer.run(main)
