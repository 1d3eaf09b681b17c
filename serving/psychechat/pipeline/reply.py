"""Reply in the mode that was decided: how it is emitted, and when the safe template replaces it."""

from dataclasses import replace

from psychechat.conversation import Cause, Choice, Decision, Reply, ReplyDelta, StageInputs
from psychechat.engines.base import StageName
from psychechat.pipeline import agent_mode, llm_mode
from psychechat.pipeline.sinks import Emit, ReplyOutput
from psychechat.pipeline.stages import StageContext
from psychechat.pipeline.state import TurnState
from psychechat.safety import output_guard
from psychechat.telemetry import FallbackCause, Metrics

_NOT_FOR_JSON = ("max_tokens", "logprobs")
"""Client sampling for LLM Mode only. A client's max_tokens would cut Agent Mode's JSON, so the pack's applies."""


async def reply_in_mode(
    state: TurnState, decision: Decision, context: StageContext, inputs: StageInputs, emit: Emit
) -> Reply:
    if decision.mode == "agent":
        return await _as_agent(state, context, inputs, emit)
    if state.never_error:
        return await _whole(state, context, inputs, emit)
    return await _streamed(state, context, inputs, emit)


def safe_reply(state: TurnState, metrics: Metrics, cause: FallbackCause, finding: Cause | None = None) -> Reply:
    """Safe template as the reply, counted by `cause`. `finding`: what the guard found in the model's reply."""
    metrics.safe_templates.labels(cause).inc()
    return state.safe_template_reply(finding)


def emit_whole(reply: Reply, emit: Emit) -> None:
    """One delta per choice."""
    for index, choice in enumerate(reply.choices):
        emit(ReplyDelta(index, choice.text))


async def _as_agent(state: TurnState, context: StageContext, inputs: StageInputs, emit: Emit) -> Reply:
    """Agent Mode's last draft, if the review passed it and the guard finds nothing; else the safe template."""
    client_sampling = {name: value for name, value in state.request.sampling.items() if name not in _NOT_FOR_JSON}
    state.agent = await agent_mode.answer(context, inputs, {} if state.never_error else client_sampling)
    text = state.agent.response
    if not state.agent.passed:
        reply = safe_reply(state, context.metrics, "review")
    elif finding := output_guard.check(text, state.policy.guard):
        context.metrics.guard_findings.labels(finding, "blocked").inc()
        reply = safe_reply(state, context.metrics, "guard", finding)
    else:
        reply = state.reply((Choice(state.with_help(text), "stop"),))
    emit(ReplyDelta(content=reply.choices[0].text))
    return reply


async def _streamed(state: TurnState, context: StageContext, inputs: StageInputs, emit: Emit) -> Reply:
    """LLM Mode with the client's sampling, streamed through the guard."""
    request, most = state.request, context.pack.sampling(StageName.REPLY)
    # A model that thinks although the client asked it not to: its thinking is not shown.
    output = ReplyOutput(emit, state.policy.guard, state.policy.show_reasoning and request.think, state.guard_ending)
    sampling = replace(most, **request.sampling)
    sampling = replace(sampling, max_tokens=min(sampling.max_tokens, most.max_tokens))
    choices = await llm_mode.answer(context, inputs, sampling, request.choices, output, think=request.think)
    if any(choice.fallback for choice in choices):
        context.metrics.safe_templates.labels("guard").inc()
    return state.reply(choices)


async def _whole(state: TurnState, context: StageContext, inputs: StageInputs, emit: Emit) -> Reply:
    """LLM Mode's reply, emitted only when complete: if the generation breaks, the safe template must not follow half
    a reply.

    The client's sampling is ignored: its bound, stop strings or temperature must not shape a reply in a crisis.
    """
    output = ReplyOutput(None, output_guard.for_whole(state.policy.guard), False, state.guard_ending)
    sampling = context.pack.sampling(StageName.REPLY)
    choices = await llm_mode.answer(context, inputs, sampling, state.request.choices, output)
    if finding := next((choice.cause for choice in choices if choice.cause), None):
        reply = safe_reply(state, context.metrics, "guard", finding)
    elif any(choice.finish_reason != "stop" for choice in choices):
        reply = safe_reply(state, context.metrics, "truncated")
    else:
        reply = state.reply(tuple(replace(choice, text=state.with_help(choice.text)) for choice in choices))
    emit_whole(reply, emit)
    return reply
