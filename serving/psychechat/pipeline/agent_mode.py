"""Agent Mode (PsychēChat, section 4): analyse, draft, imagine the seeker's reactions, review; again on a refusal."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from psychechat.conversation import EmotionAnalysis, Round
from psychechat.pipeline import stages
from psychechat.pipeline.stages import Desk
from psychechat.prompts.pack import Brief


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    analysis: EmotionAnalysis
    rounds: tuple[Round, ...]

    @property
    def passed(self) -> bool:
        return self.rounds[-1].review.passed

    @property
    def response(self) -> str:
        """The last draft's. It may leave only if it passed."""
        return self.rounds[-1].draft.response


async def answer(desk: Desk, brief: Brief, asked: Mapping[str, Any]) -> AgentOutcome:
    """Rounds until a draft passes its review or `limits.rounds` is reached. `asked`: the client's sampling of it."""
    analysis = await stages.analyse_emotion(desk, brief)
    brief = replace(brief, analysis=analysis)
    rounds: tuple[Round, ...] = ()
    for _ in range(desk.limits.rounds):
        draft = await stages.write_draft(desk, replace(brief, rounds=rounds), asked)
        reactions = await stages.simulate(desk, replace(brief, draft=draft))
        review = await stages.review(desk, replace(brief, draft=draft, reactions=reactions))
        rounds = (*rounds, Round(draft, reactions, review))
        if review.passed:
            break
        desk.metrics.refused_drafts.inc()
    desk.metrics.review_rounds.observe(len(rounds))
    return AgentOutcome(analysis, rounds)
