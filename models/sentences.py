"""Sentences written for this project: what the data sets lack, in English and Chinese.

Good risk data exists in Chinese only, and strong emotions are rare everywhere. These lists are the project's own words,
nobody's story: those about risk lie in `risk_cores.yaml`. Each core sentence is varied with neutral openers and closers
that all levels share, so that only the core tells them apart; whole cores are held out for development.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from psychechat.risk import Severity

Language = Literal["en", "zh"]

VARIANTS = 6
HELD_OUT = 6
"""Every sixth core is for development."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text and its label: a risk severity 0..4, or an emotion group with its level 1..3 (and then no risk)."""

    text: str
    core: str
    language: Language
    risk: int
    group: str | None
    level: int
    held_out: bool


def sentences(seed: int) -> Iterator[Sentence]:
    """All sentences with their variants; the same ones for the same seed."""
    for language in ("en", "zh"):
        for kind in _RISK.values():
            for severity, cores in kind[language].items():
                for number, core in enumerate(cores):
                    for text in _vary(core, language, seed):
                        yield Sentence(text, core, language, Severity[severity.upper()], None, 0, _is_held_out(number))
        for group, levels in _EMOTION[language].items():
            for level, joined in enumerate(levels, start=1):
                for number, core in enumerate(joined.split(" | ")):
                    for text in _vary(core, language, seed):
                        yield Sentence(text, core, language, 0, group, level, _is_held_out(number))


def _is_held_out(number: int) -> bool:
    return number % HELD_OUT == HELD_OUT - 1


def _vary(core: str, language: Language, seed: int) -> list[str]:
    chance = random.Random(f"{seed} {core}")  # of its own, so that a new core leaves the others' variants alone
    openers, closers = _FRAMES[language]
    space, stop = (" ", ".") if language == "en" else ("", "。")
    end = "" if core[-1] in "?!？！" else stop
    texts = {core + end: None, core: None}
    while len(texts) < VARIANTS:
        opener = chance.choice(["", *openers])
        closer = chance.choice(["", *closers])
        text = f"{opener}{core}{end}{space + closer if closer else ''}"
        if language == "en" and chance.random() < 0.3:
            text = text.lower().rstrip(".")
        texts[text] = None
    return list(texts)


_FRAMES: dict[Language, tuple[list[str], list[str]]] = {
    "en": (
        [
            "Honestly, ",
            "I don't know how to say this, but ",
            "Lately things have changed. ",
            "Hi, thanks for listening. ",
            "It's been a long week. ",
            "To be frank, ",
            "Since we last talked: ",
            "My sister says I should tell someone. ",
            "Well, ",
            "After everything with my job, ",
            "I had dinner with my parents yesterday. ",
            "Can I tell you something? ",
        ],
        [
            "That's all for today.",
            "What do you think?",
            "I don't really know why.",
            "I wanted to tell someone.",
            "It's been like this for a while.",
            "Anyway.",
            "I've told nobody else.",
            "My friend noticed it too.",
            "Does that make sense?",
        ],
    ),
    "zh": (
        [
            "说实话，",
            "我不知道怎么开口，",
            "最近变化挺大的，",
            "你好，谢谢你听我说。",
            "这个星期过得很慢，",
            "老实讲，",
            "上次聊完以后，",
            "朋友让我来说说，",
            "嗯，",
            "工作上出了些事以后，",
            "昨天和爸妈吃了饭，",
            "我想跟你讲件事，",
        ],
        [
            "今天就想说这些。",
            "你怎么看？",
            "我也不清楚为什么。",
            "就是想找个人说说。",
            "这样有一阵子了。",
            "算了，就这样吧。",
            "我没跟别人说过。",
            "朋友也看出来了。",
            "你能明白吗？",
        ],
    ),
}

_EMOTION_EN: dict[str, tuple[str, str, str]] = {
    "joy": (
        "I feel calm today | I'm at peace with how it went | a quiet evening, I feel relaxed | "
        "I'm content at the moment | I feel lighter now | it was a peaceful walk",
        "I'm so happy today | my sister is visiting and I'm really happy | we had a wonderful time together | "
        "I'm glad I finally said it | getting the job made me so happy | what a lovely day, I can't stop smiling",
        "I'm over the moon, I got in! | this is the best day of my life! | I'm ecstatic, we won! | "
        "I could jump for joy, she said yes! | I'm bursting with happiness | I've never been so overjoyed",
    ),
    "trust": (
        "I accept that it takes time | fair enough, I can live with that | "
        "okay, I'm willing to try what you suggest | I've come to terms with it | I accept how he is | "
        "all right, that makes sense to me",
        "I trust you with this | I can rely on my best friend | I believe she'll keep her word | "
        "I feel safe talking to you | my brother always has my back, I trust him | I have faith in my doctor",
        "I admire her courage so much | my mother is my hero | I look up to him more than to anyone | "
        "I'm in awe of how she raised us alone | I deeply respect my teacher | what he did was truly admirable",
    ),
    "fear": (
        "I'm a bit worried about tomorrow | I keep worrying about the results | I'm nervous about the interview | "
        "I'm uneasy about meeting them | I worry that I said something wrong | the exam makes me anxious",
        "I'm afraid of losing him | I'm scared to open that letter | I feel frightened when he shouts | "
        "I'm afraid of being alone at night | going outside scares me | I'm scared that it's cancer",
        "I'm terrified, I can't breathe | I was scared out of my mind when he broke the door | "
        "I'm in a total panic, my whole body is shaking | the thought of it fills me with terror | "
        "I was petrified and could not move | I wake up screaming from those nightmares",
    ),
    "surprise": (
        "I don't understand why he did that | I'm puzzled by her message | that's odd, it makes no sense to me | "
        "I'm confused about what you mean | why would she say that? | I can't work out what happened",
        "I was surprised that she called | I didn't expect that at all | wow, I didn't see that coming | "
        "what, he really came? | their visit took me by surprise | to my surprise I got an answer",
        "I'm stunned, I can't believe it | I was amazed, my jaw dropped | it was a complete shock to me | "
        "I'm absolutely astonished | unbelievable, I was speechless | I was thunderstruck when I heard it",
    ),
    "sadness": (
        "I feel a little down today | I'm feeling blue | it left me somewhat disappointed | I'm in low spirits | "
        "I feel a bit gloomy since the move | I've been down since Monday",
        "I'm really sad about it | I cried all evening | it makes me so unhappy | "
        "my heart is heavy since he left | I'm sad and lonely | I feel miserable about the break-up",
        "I'm devastated by her death | my heart is broken into pieces, I can't stop crying | "
        "I'm grieving for my son | the grief is crushing me | losing my father tore me apart | "
        "I sob every night since we buried her",
    ),
    "disgust": (
        "I'm bored of everything | the same routine every day, so tedious | I'm fed up with these meetings | "
        "nothing interests me, I'm bored | this course is so dull | I'm sick of hearing about it",
        "what he did disgusts me | that is revolting | I feel sick when I see him | it was a nasty thing to say | "
        "his behaviour is repulsive | the way they treat her is gross",
        "I loathe him | I hate him with every fibre | I despise myself for it | "
        "I detest everything about that man | I can't stand the sight of her, I hate her | I hate my stepfather",
    ),
    "anger": (
        "that's a bit annoying | my neighbour's noise gets on my nerves | I'm irritated that he's late again | "
        "it bugs me when she interrupts | I'm annoyed at myself | little things irritate me lately",
        "I'm angry with my boss | it makes me mad that nobody helps | I'm angry that she lied | "
        "I'm really cross with him | he made me so angry yesterday | why am I always the one to blame? I'm angry",
        "I'm furious! | I'm so enraged that I could scream | he betrayed me and I'm boiling with rage | "
        "I exploded and smashed a plate | I've never been so furious in my life | how dare they, I'm livid",
    ),
    "anticipation": (
        "I care about how she's doing | I hope my friend is all right, I want to check on her | "
        "I'm curious what she'll say | I'd like to look after him | "
        "I'm concerned for my sister and want to help | how is your mother doing?",
        "I'm looking forward to the weekend | I can't wait to see her | I hope it works out next month | "
        "I'm excited about the new job | I expect an answer tomorrow and I'm hopeful | "
        "I really hope things get better",
        "I'm on my guard around him | I keep checking the door, something is wrong | I stay alert all the time | "
        "I watch every step he makes | I have to be careful what I say to them | I'm wary of her offers",
    ),
}

_EMOTION_ZH: dict[str, tuple[str, str, str]] = {
    "joy": (
        "今天心里很平静 | 这样就挺好，我很安心 | 散步以后放松了 | 现在感觉踏实 | 心情轻松了一些 | 安安静静的，很舒服",
        "我今天很开心 | 搬进新家了，好高兴 | 和朋友玩得很快乐 | 找到工作了，真开心 | 他记得我的生日，我很高兴 | "
        "今天真是美好的一天",
        "太棒了，我高兴得跳起来！ | 这是我最幸福的一天！ | 我们赢了，激动得不行！ | 我简直乐疯了 | "
        "她答应了，我欣喜若狂 | 从来没有这么开心过！",
    ),
    "trust": (
        "好吧，我能接受 | 我愿意试试你说的办法 | 慢慢来，我接受这个结果 | 我理解他的决定 | 你说得有道理 | "
        "就这样吧，我想通了",
        "我相信你 | 有事我就找她，她靠得住 | 我信任我的朋友 | 跟你说话我觉得安全 | 我相信他会做到 | 谢谢你，我很信赖你",
        "我特别敬佩我的老师 | 妈妈是我心中的英雄 | 她的勇气让我佩服得五体投地 | 我很崇拜他 | "
        "他的为人让我肃然起敬 | 我打心底里尊敬她",
    ),
    "fear": (
        "我有点担心明天 | 一直担心结果 | 面试让我紧张 | 总觉得不安 | 我担心说错话 | 考试快到了，很焦虑",
        "我害怕失去他 | 不敢一个人睡，害怕 | 他一吼我就怕 | 我很害怕是坏消息 | 出门让我恐惧 | 我怕他再打我",
        "我吓得浑身发抖 | 我惊恐得喘不过气 | 当时吓得动都动不了 | 半夜被噩梦吓醒，尖叫起来 | 想起来就毛骨悚然 | "
        "我快吓疯了",
    ),
    "surprise": (
        "我不明白他为什么这样 | 她的话让我很疑惑 | 怎么会这样呢？ | 我搞不懂是什么意思 | 有点奇怪，我想不通 | "
        "为什么突然这么说？",
        "没想到她会打电话来 | 真让人意外 | 哇，完全没料到 | 他居然来了 | 我很惊讶 | 这个消息出乎意料",
        "我惊呆了，不敢相信 | 太震惊了，说不出话 | 简直难以置信！ | 听到以后整个人都懵了 | 我震惊得愣在那里 | "
        "天哪，怎么可能！",
    ),
    "sadness": (
        "今天有点低落 | 心里有些失落 | 有点伤感 | 情绪不太高 | 觉得有些遗憾 | 这几天闷闷不乐",
        "我很难过 | 一个人哭了一晚上 | 想到他就伤心 | 分手以后特别难受 | 心里很痛苦 | 我很悲伤",
        "她走了，我的心都碎了 | 失去爸爸让我痛哭不止 | 我悲痛得说不出话 | 孩子没了，我天天以泪洗面 | "
        "撕心裂肺地难受 | 亲人去世，我崩溃大哭",
    ),
    "disgust": (
        "每天都一样，好无聊 | 对什么都提不起兴趣 | 我受够了这些会议 | 日子过得很乏味 | 这课太没意思了 | 听腻了这些话",
        "他做的事让我恶心 | 看到他就反感 | 我讨厌这种人 | 这种行为太恶心了 | 我厌恶他们的虚伪 | 真让人作呕",
        "我恨他 | 我恨透了这个家 | 我对她恨之入骨 | 我憎恨那个人 | 看都不想看他一眼，恨死了 | 我恨我的继父",
    ),
    "anger": (
        "有点烦 | 邻居太吵了，心烦 | 他又迟到，真烦人 | 最近一点小事就烦躁 | 她老打断我，很烦 | 催来催去的，烦",
        "我很生气 | 她骗了我，我很气 | 领导太过分了，气人 | 没人帮忙，我很恼火 | 昨天他把我惹火了 | 凭什么都怪我？",
        "我气炸了！ | 我愤怒到极点 | 他背叛我，我要气疯了 | 气得我把杯子摔了 | 从来没这么愤怒过！ | "
        "他们怎么敢，太可恨了，我暴跳如雷",
    ),
    "anticipation": (
        "我很关心她过得好不好 | 想去看看朋友怎么样了 | 不知道妈妈身体好点没有 | 我想多照顾他一些 | "
        "我很在意他的感受 | 你最近怎么样？",
        "好期待周末 | 等不及想见她 | 希望下个月能成 | 对新工作很期待 | 盼着他回来 | 希望以后会越来越好",
        "我对他一直有防备 | 总觉得不对劲，老去看门锁没锁 | 时刻提高警惕 | 跟他们说话要小心 | 我得提防着点 | "
        "对她的好意我保持戒心",
    ),
}

_EMOTION: dict[Language, dict[str, tuple[str, str, str]]] = {"en": _EMOTION_EN, "zh": _EMOTION_ZH}

_RISK: dict[str, dict[Language, dict[str, list[str]]]] = yaml.safe_load(
    Path(__file__).with_name("risk_cores.yaml").read_text("utf-8")
)
"""By kind, language and severity."""

RISK_CORES = frozenset(
    core for kind in _RISK.values() for severities in kind.values() for cores in severities.values() for core in cores
)
"""What is training or development material here cannot test the heads: tests bring their own sentences."""
