"""Rendering of what the stages made of a turn: `psychechat.stages`, for whoever develops or inspects.

A draft that the review refused is a model's unreviewed words. They are shown only where `policy.show_stages` says so
and, where there are API keys, to one with `inspect`: never hand them on to a seeker.
"""

from itertools import zip_longest

from psychechat.api.http import schemas
from psychechat.api.texts.rendering import groups_object
from psychechat.conversation import EmotionAnalysis, Reaction, Reply, Round, Verdict


def stages_object(reply: Reply) -> schemas.Stages:
    """Without analysis and rounds in LLM Mode, and where Agent Mode did not come to its first review's end."""
    assessment, agent = reply.reading.assessment, reply.agent
    return {
        "groups": groups_object(assessment) if assessment else None,
        "analysis": _analysis(agent.analysis) if agent else None,
        "rounds": [_round(each) for each in agent.rounds] if agent else [],
    }


def _analysis(analysis: EmotionAnalysis) -> schemas.StageAnalysis:
    return {
        "labels": [label.name("en") for label in analysis.labels],
        "analysis": analysis.analysis,
        "recent_change": analysis.recent_change,
        "overall_trend": analysis.overall_trend,
        "shift_analysis": analysis.shift_analysis,
    }


def _round(made: Round) -> schemas.StageRound:
    draft, review = made.draft, made.review
    judged = zip_longest(made.reactions, review.verdicts[: len(made.reactions)])
    return {
        "draft": {"phase": draft.phase, "strategy": draft.strategy, "response": draft.response},
        "reactions": [_reaction(reaction, verdict) for reaction, verdict in judged],
        "review": {
            "passed": review.passed,
            "emotional_suggestion": review.emotional_suggestion,
            "safety_suggestion": review.safety_suggestion,
        },
    }


def _reaction(reaction: Reaction, verdict: Verdict | None) -> schemas.StageReaction:
    return {
        "type": reaction.type,
        "response": reaction.response,
        "verdict": {"analysis": verdict.analysis, "passed": verdict.passed} if verdict else None,
    }
