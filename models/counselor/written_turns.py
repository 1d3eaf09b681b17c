"""Exchanges that were written for this project, as the hand-offs of a turn: what each stage reads and is to write."""

from models.counselor.turn_record import TurnRecord
from models.written import Exchange
from psychechat.conversation import (
    Conversation,
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    Phase,
    Reaction,
    Review,
    Round,
    Utterance,
    Verdict,
)
from psychechat.emotion import Label, Language, valence
from psychechat.prompts.answers import PHASES
from psychechat.risk import CRISIS, Severity

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
        analysis=analysis_of(language, exchange.emotions, exchange.memory, exchange.why, exchange.shift),
        refused=(_refused(exchange),) if exchange.twin else (),
        draft=Draft(exchange.phase, exchange.plan, exchange.reply),
        reactions=_reactions(exchange.reactions),
        review=Review(tuple(Verdict(words, True) for words in exchange.verdicts), True),
        thinking=thinking_of(
            language,
            exchange.emotions,
            exchange.memory,
            exchange.phase,
            exchange.plan,
            exchange.risk,
            exchange.reply,
        ),
        reply=exchange.reply,
    )


def analysis_of(
    language: Language, labels: tuple[Label, ...], before: tuple[Label, ...], why: str, shift: str
) -> EmotionAnalysis:
    """`before`: of the turn before; empty in the first one, which has no course yet."""
    if not before:
        return EmotionAnalysis(labels, why)
    trend = _TREND[language][1 + (valence(labels) > valence(before)) - (valence(labels) < valence(before))]
    change = " → ".join(some[0].name(language) for some in (before, labels))
    return EmotionAnalysis(labels, why, change, trend, shift)


def _refused(exchange: Exchange) -> Round:
    verdicts = tuple(Verdict(words, passed) for passed, words in exchange.twin_verdicts)
    review = Review(verdicts, False, exchange.mend_emotion, exchange.mend_safety)
    return Round(Draft(exchange.phase, exchange.plan, exchange.twin), _reactions(exchange.twin_reactions), review)


def _reactions(said: tuple[tuple[str, str], ...]) -> tuple[Reaction, ...]:
    return tuple(Reaction(kind, words) for kind, words in said)  # type: ignore[arg-type]


def thinking_of(
    language: Language,
    labels: tuple[Label, ...],
    before: tuple[Label, ...],
    phase: Phase,
    plan: str,
    severity: Severity,
    reply: str,
    feeling: str = "",
) -> str:
    """Four short lines: shift, plan, risk, integration. `feeling`: that the reply answers; the last word before it."""
    felt = [label.name(language) for label in labels]
    asks = any(mark in reply for mark in "?？")
    if language == "zh":
        was = f"之前{before[0].name('zh')}" if before else "第一轮"
        risk = "有危险，问安全" if severity >= CRISIS else "要留意" if severity else "未见"
        manner = "温和，问一句" if asks else "温和，不追问"
        manner += f"，{feeling}" if feeling else ""
        return (
            f"转变：{'、'.join(felt)}，{was}。\n计划：{PHASES['zh'][phase]}；{plan}。\n风险：{risk}。\n整合：{manner}。"
        )
    was = f"before {before[0].name()}" if before else "the first turn"
    risk = "in danger, ask about safety" if severity >= CRISIS else "watch" if severity else "none noticed"
    manner = "warm, one question" if asks else "warm, no question"
    manner += f", {feeling}" if feeling else ""
    return f"Shift: {', '.join(felt)}; {was}.\nPlan: {phase}; {plan}.\nRisk: {risk}.\nIntegration: {manner}."
