"""Exchanges that were written for this project, as the hand-offs of a turn: what each stage reads and is to write."""

from models.counselor.corpus.story import TurnRecord
from models.written import Exchange
from psychechat.conversation import (
    Conversation,
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    Reaction,
    Review,
    Round,
    Utterance,
    Verdict,
)
from psychechat.emotion import Language, valence
from psychechat.prompts.answers import PHASES
from psychechat.risk import CRISIS

_TREND: dict[Language, tuple[str, str, str]] = {
    "en": ("falling", "steady", "rising"),
    "zh": ("下降", "平稳", "上升"),
}


def record(exchange: Exchange) -> TurnRecord:
    """The turn, its hurting twin as a draft that was refused. Without the twin's review there is nothing refused."""
    language = exchange.language
    return TurnRecord(
        conversation=Conversation(
            tuple(
                Utterance("counselor" if number % 2 else "seeker", text) for number, text in enumerate(exchange.turns)
            )
        ),
        memory=EmotionMemory("", language, exchange.memory) if exchange.before else None,
        severity=exchange.risk,
        analysis=_analysis(exchange),
        refused=(_refused(exchange),) if exchange.twin else (),
        draft=Draft(exchange.phase, exchange.plan, exchange.reply),
        reactions=_reactions(exchange.reactions),
        review=Review(tuple(Verdict(words, True) for words in exchange.verdicts), True),
        thinking=_thinking(exchange),
        reply=exchange.reply,
    )


def _analysis(exchange: Exchange) -> EmotionAnalysis:
    if not exchange.before:
        return EmotionAnalysis(exchange.emotions, exchange.why)
    before, now = valence(exchange.memory), valence(exchange.emotions)
    trend = _TREND[exchange.language][1 + (now > before) - (now < before)]
    change = " → ".join(labels[0].name(exchange.language) for labels in (exchange.memory, exchange.emotions))
    return EmotionAnalysis(exchange.emotions, exchange.why, change, trend, exchange.shift)


def _refused(exchange: Exchange) -> Round:
    verdicts = tuple(Verdict(words, passed) for passed, words in exchange.twin_verdicts)
    review = Review(verdicts, False, exchange.mend_emotion, exchange.mend_safety)
    return Round(Draft(exchange.phase, exchange.plan, exchange.twin), _reactions(exchange.twin_reactions), review)


def _reactions(said: tuple[tuple[str, str], ...]) -> tuple[Reaction, ...]:
    return tuple(Reaction(kind, words) for kind, words in said)  # type: ignore[arg-type]


def _thinking(exchange: Exchange) -> str:
    """Four short lines: shift, plan, risk, integration."""
    labels = [label.name(exchange.language) for label in exchange.emotions]
    asks = any(mark in exchange.reply for mark in "?？")
    if exchange.language == "zh":
        was = f"之前{exchange.memory[0].name('zh')}" if exchange.before else "第一轮"
        risk = "留意安全，指向能帮忙的人" if exchange.risk >= CRISIS else "要留意" if exchange.risk else "未见"
        manner = "温和，问一句" if asks else "温和，不追问"
        plan = f"{PHASES['zh'][exchange.phase]}；{exchange.plan}"
        return f"转变：{'、'.join(labels)}，{was}。\n计划：{plan}。\n风险：{risk}。\n整合：{manner}。"
    was = f"before {exchange.memory[0].name()}" if exchange.before else "the first turn"
    risk = "in danger, ask about safety" if exchange.risk >= CRISIS else "watch" if exchange.risk else "none noticed"
    manner = "warm, one question" if asks else "warm, no question"
    return (
        f"Shift: {', '.join(labels)}; {was}.\nPlan: {exchange.phase}; {exchange.plan}.\n"
        f"Risk: {risk}.\nIntegration: {manner}."
    )
