"""Ordinary turns that are hard on a server: hot sampling, long notes and histories, emoji, other scripts, tight bounds.

What the seeker says is ordinary; a seed and a number make the same case each time.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from benchmarks.care.asking import MODELS, Messages
from psychechat.emotion import Language

Kind = Literal["plain", "hot", "notes", "history", "emoji", "scripts", "bound", "several", "stop", "all at once"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WEIGHTS = (5, 3, 2)
"""Of the models: Agent Mode takes five times as long as LLM Mode."""
HISTORY = 119
"""Messages before the newest one."""
LONGEST, LONGEST_OF_HISTORY = 600, 60
"""Characters of a line, so that prompts fit the demo's context."""
NOTES = 3_900
"""Characters of operator notes, of which a server takes 4,000."""

_EMOJI = ("😭", "😂", "🙃", "❤️", "👍🏽", "👩‍👩‍👧", "🏳️‍🌈", "🇯🇵", "✨", "🥲", "🤷🏻‍♀️", "☕️", "1️⃣", "🫠", "🐈‍⬛", "💔")
_SCRIPTS = (
    "Hoy tuve un día muy largo en el trabajo y no sé cómo descansar.",
    "Meine Schwester ist umgezogen, und die Wohnung ist jetzt sehr still.",
    "Je me dispute souvent avec mon frère en ce moment, ça me fatigue.",
    "明日の面接が心配で、なかなか眠れません。",
    "요즘 친구들과 자주 못 만나서 조금 외로워요.",
    "Завтра у меня экзамен, и я очень волнуюсь.",
    "أشعر بالتعب بعد أسبوع طويل في العمل.",
    "आज दफ़्तर में बहुत काम था और मैं थक गई हूँ।",
    "Αύριο ξεκινάω καινούρια δουλειά και έχω άγχος.",
    "วันนี้ทะเลาะกับแม่เรื่องการเรียน รู้สึกแย่นิดหน่อย",
    "היום היה לי יום ארוך, ואני רק רוצה לנוח.",
    "Ngày mai con tôi đi học xa nhà, tôi thấy nhớ.",
)
_RULES: Mapping[Language, Sequence[str]] = {
    "en": (
        "You answer visitors of the Harbour Street bicycle shop.",
        "Never promise a delivery date that is not in the order.",
        "Use short sentences and no technical terms.",
        "If someone asks for a refund, point to the counter downstairs.",
        "Opening hours are nine to six, on Saturdays ten to two.",
        "Do not mention other shops by name.",
        "Address everyone politely and never by a nickname.",
        "Members of the rowing club get ten per cent off new tyres.",
        "Write prices with two decimals.",
        "When in doubt, ask which model the visitor has.",
    ),
    "zh": (
        "你在港口街自行车店的网站上回答访客。",
        "订单里没有写的送货日期，一律不要承诺。",
        "句子要短，不用专业术语。",
        "有人要退款时，请他去楼下柜台。",
        "营业时间是九点到六点，星期六十点到两点。",
        "不要提别的店名。",
        "对每个人都用礼貌的称呼。",
        "划船俱乐部的会员买新轮胎打九折。",
        "价格写到小数点后两位。",
        "不确定时，先问对方是哪一个型号。",
    ),
}
_STOPS = ("?", "？", ".", "。", "the", "的", "\n", "!", " I ", "我")

Lines = Mapping[Language, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    kind: Kind
    model: str
    stream: bool
    messages: Messages
    sampling: Mapping[str, Any]


def case(lines: Lines, seed: int, number: int) -> Case:
    """The kinds come in turn."""
    chance, kind = random.Random(f"{seed} {number}"), KINDS[number % len(KINDS)]
    language: Language = "en" if chance.random() < 0.5 else "zh"
    everything = kind == "all at once"
    newest = chance.choice(lines[language])[:LONGEST]
    if kind == "scripts" or (everything and chance.random() < 0.3):
        newest = chance.choice(_SCRIPTS)
    if kind == "emoji" or everything:
        newest = _with_emoji(newest, chance)
    said: Messages = []
    if kind == "notes" or (everything and chance.random() < 0.5):
        said.append({"role": "system", "content": _notes(language, chance)})
    if kind == "history" or (everything and chance.random() < 0.3):
        said += _history(lines[language], chance)
    several = kind == "several" or (everything and chance.random() < 0.2)
    return Case(
        name=f"{number}",
        kind=kind,
        model="psychechat-llm" if several else chance.choices(MODELS, WEIGHTS)[0],
        stream=chance.random() < 0.5,
        messages=[*said, {"role": "user", "content": newest}],
        sampling=_sampling(kind, chance, several=several),
    )


def _sampling(kind: Kind, chance: random.Random, *, several: bool) -> dict[str, Any]:
    everything = kind == "all at once"
    found: dict[str, Any] = {"n": 2} if several else {}
    if kind == "hot" or everything:
        found["temperature"] = round(chance.uniform(0.5, 2.0), 2)
        found |= {"top_p": round(chance.uniform(0.5, 1.0), 2)} if chance.random() < 0.3 else {}
        found |= {"presence_penalty": round(chance.uniform(-2, 2), 1)} if chance.random() < 0.2 else {}
    if kind == "bound" or everything:
        name = chance.choice(("max_tokens", "max_completion_tokens"))
        found[name] = chance.randint(1, 64)
    if kind == "stop" or everything:
        found["stop"] = chance.sample(_STOPS, chance.randint(1, 4))
    return found


def _with_emoji(line: str, chance: random.Random) -> str:
    placed = "".join(chance.choices(_EMOJI, k=chance.randint(1, 8)))
    return f"{placed} {line}" if chance.random() < 0.3 else f"{line} {placed}"


def _notes(language: Language, chance: random.Random) -> str:
    rules: list[str] = []
    while sum(map(len, rules)) + len(rules) < NOTES - 200:
        rules.append(f"{len(rules) + 1}. {chance.choice(_RULES[language])}")
    return "\n".join(rules)


def _history(lines: Sequence[str], chance: random.Random) -> Messages:
    """Begins with the counselor, so that the newest line follows one of theirs."""
    return [
        {"role": "user" if place % 2 else "assistant", "content": chance.choice(lines)[:LONGEST_OF_HISTORY]}
        for place in range(HISTORY)
    ]
