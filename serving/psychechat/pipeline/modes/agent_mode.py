"""Agent Mode (PsychēChat, section 4): emotion analysis, then rounds of draft, simulated reactions and review.

A draft passes if the generated review and the classifier's third head both let it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from psychechat.concurrency import together
from psychechat.conversation import AgentOutcome, Review, Round, StageInputs
from psychechat.pipeline.modes import stages
from psychechat.pipeline.modes.stages import StageContext


async def answer(
    context: StageContext, inputs: StageInputs, client_sampling: Mapping[str, Any], *, is_sober: bool = False
) -> AgentOutcome:
    """Rounds until a draft passes its review or there are `context.rounds` of them.

    `client_sampling`: fields of `Sampling` that the client set; they apply to the draft alone. `is_sober`: no stage is
    told of a positive emotion that the first one named.
    """
    analysis = await stages.analyse_emotion(context, inputs)
    if is_sober:
        analysis = analysis.sober
    inputs = replace(inputs, analysis=analysis)
    rounds: tuple[Round, ...] = ()
    for _ in range(context.rounds):
        draft = await stages.write_draft(context, replace(inputs, rounds=rounds), client_sampling)
        reactions = await stages.simulate(context, replace(inputs, draft=draft))
        review = await _review(context, replace(inputs, draft=draft, reactions=reactions), draft.response)
        rounds = (*rounds, Round(draft, reactions, review))
        if review.passed:
            break
        context.metrics.refused_drafts.inc()
    context.metrics.review_rounds.observe(len(rounds))
    return AgentOutcome(analysis, rounds)


async def _review(context: StageContext, inputs: StageInputs, response: str) -> Review:
    """The generated review, failed and with a suggestion more where the head refuses the draft."""
    review, (judgement,) = await together(stages.review(context, inputs), context.judge.judge([response], "agent"))
    return review.refused(context.pack.hurting_suggestion) if context.judge.refuses(judgement) else review
