"""Reply in the mode that was decided, and when fixed words replace a model's."""

from collections.abc import Sequence
from dataclasses import replace

from psychechat.admission.lanes import estimate_tokens
from psychechat.conversation import Cause, Choice, Decision, Reply, StageInputs
from psychechat.engines.base import StageName
from psychechat.errors import StageFailed
from psychechat.pipeline.modes import agent_mode, llm_mode
from psychechat.pipeline.modes.stages import StageContext
from psychechat.pipeline.sinks import ReplyOutput, Written, closing, whole_sentences
from psychechat.pipeline.state import TurnState
from psychechat.safety import output_guard
from psychechat.safety.replies import crisis_reply
from psychechat.safety.replies.broken_text import repeats
from psychechat.telemetry import FallbackCause, Metrics

_NOT_FOR_JSON = ("max_tokens", "logprobs")
"""Client sampling for LLM Mode only. A client's max_tokens would cut Agent Mode's JSON, so the pack's applies there and
the reply is cut once it has passed."""


async def reply_in_mode(
    state: TurnState, decision: Decision, context: StageContext, inputs: StageInputs, written: Written, seconds: float
) -> Reply:
    """Reply in the decided mode. An ordinary turn whose stage failed is tried in the other one, once.

    `seconds`: the turn's time limit, of which half must be left for that. Raises StageFailed if that fails too.
    """
    inputs = replace(inputs, reading=state.reading_for_stages)
    if state.is_sober:
        inputs = replace(inputs, earlier={place: turn.sober for place, turn in inputs.earlier.items()})
    try:
        return await _reply(state, decision, context, inputs, written)
    except StageFailed:
        begun = state.request.streamed and (written.has_reasoning or any(written.texts.values()))
        if decision.crisis or begun or state.request.choices > 1 or context.meter.elapsed > seconds / 2:
            raise
    context.metrics.other_mode.inc()
    state.agent = None
    written.texts.clear()  # of a reply that the client has seen nothing of
    state.decision = replace(decision, mode="agent" if decision.mode == "llm" else "llm")
    return await _reply(state, state.decision, context, inputs, written)


def fixed_reply(state: TurnState, metrics: Metrics, cause: FallbackCause, *, filtered: bool = False) -> Reply:
    """Fixed words in every choice, counted by `cause`. `filtered`: a rule withheld a model's reply."""
    return state.reply((_fixed(state, metrics, cause, filtered=filtered),) * state.request.choices)


def cut_reply(state: TurnState, metrics: Metrics, cause: FallbackCause, texts: Sequence[str]) -> Reply:
    """Reply that broke off: each choice's text, up to the end of a sentence or a fixed one.

    `texts`: by choice, what has left. One of which nothing has is fixed words.
    """
    ending = state.fixed.cut(state.reading)
    cut = tuple(
        Choice(text + closing(text, ending), "stop", cut=True) if text else _fixed(state, metrics, cause)
        for text in texts
    )
    return state.reply(cut)


def _fixed(
    state: TurnState, metrics: Metrics, cause: FallbackCause, finding: Cause | None = None, *, filtered: bool = False
) -> Choice:
    metrics.safe_templates.labels(cause, state.fixed_words[0]).inc()
    return state.fixed_choice(finding, filtered=filtered)


async def _reply(
    state: TurnState, decision: Decision, context: StageContext, inputs: StageInputs, written: Written
) -> Reply:
    if decision.mode == "agent":
        return state.reply((await _as_agent(state, context, inputs),))
    if state.never_error:
        return state.reply(await _whole(state, context, inputs))
    return state.reply(await _streamed(state, context, inputs, written))


async def _as_agent(state: TurnState, context: StageContext, inputs: StageInputs) -> Choice:
    """Agent Mode's last draft, if the review passed it and it may leave; else fixed words.

    Raises StageFailed for a draft that is no text a person could read.
    """
    client_sampling = {name: value for name, value in state.request.sampling.items() if name not in _NOT_FOR_JSON}
    state.agent = await agent_mode.answer(
        context, inputs, {} if state.never_error else client_sampling, is_sober=state.is_sober
    )
    metrics = context.metrics
    if not state.agent.passed:
        return _fixed(state, metrics, "review", filtered=True)
    screened = output_guard.screen(state.agent.response, state.policy.guard, state.reply_context)
    broken = "broken" if screened.broken else None
    metrics.count_findings(screened.cause or broken, blocked=True, contacts=screened.withheld)
    if screened.cause:
        return _fixed(state, metrics, "guard", screened.cause, filtered=True)
    if screened.broken or not screened.text.strip():
        raise StageFailed(StageName.DRAFT)
    choice = _bounded(state, Choice(screened.text.strip(), "stop", withheld=screened.withheld))
    return _finished(state, metrics, choice)


def _bounded(state: TurnState, choice: Choice) -> Choice:
    """Agent Mode's reply within the client's max_tokens: its first sentences, as many as fit, and one at least."""
    bound = state.request.sampling.get("max_tokens")
    if bound is None or state.never_error or estimate_tokens(choice.text) <= bound:
        return choice
    kept = ""
    for sentence in output_guard.sentences(choice.text):
        if kept and estimate_tokens(kept + sentence) > bound:
            break
        kept += sentence
    return replace(choice, text=kept.rstrip(), finish_reason="length")


def _finished(state: TurnState, metrics: Metrics, choice: Choice) -> Choice:
    """Model's reply as it is sent: with whom to turn to, or fixed words alone where it is no reply to a crisis."""
    own = choice.text
    if opening := state.opening:
        language = state.reading.language
        if repeats(f"{opening.words} {own}", language):  # mostly thanks, once more
            own = "".join([*output_guard.sentences(own)][1:]).lstrip()
        unfit = crisis_reply.check(
            own, language=language, conversation=state.request.conversation, guard=state.policy.guard
        )
        if unfit or repeats(f"{opening.words} {own}", language):
            return _fixed(state, metrics, "unfit")
    return replace(choice, text=state.with_help(own).text, own=own)


async def _streamed(
    state: TurnState, context: StageContext, inputs: StageInputs, written: Written
) -> tuple[Choice, ...]:
    """LLM Mode with the client's sampling, streamed through the guard."""
    request, most = state.request, context.pack.sampling(StageName.REPLY)
    sampling = replace(most, **request.sampling)
    sampling = replace(sampling, max_tokens=min(sampling.max_tokens, most.max_tokens))
    think = request.think and sampling.max_tokens >= context.pack.thinks_from
    # A model that thinks although it was asked not to: its thinking is not shown.
    output = _output(
        state, context, written, show_reasoning=state.policy.show_reasoning and state.request.tells_thinking and think
    )
    choices = await llm_mode.answer(context, inputs, sampling, request.choices, output, think=think)
    for choice in choices:
        if choice.fallback:
            context.metrics.safe_templates.labels("guard", state.fixed_words[0]).inc()
    return choices


async def _whole(state: TurnState, context: StageContext, inputs: StageInputs) -> tuple[Choice, ...]:
    """LLM Mode's reply, which leaves only when complete: fixed words must not follow half a reply.

    The client's sampling is ignored: its bound, stop strings or temperature must not shape a reply in a crisis. That
    has one reply, the same in all its choices, so that it costs others no place.
    """
    output = _output(state, context, None, show_reasoning=False)
    output = replace(output, guard=output_guard.for_whole(state.policy.guard))
    sampling, number = context.pack.sampling(StageName.REPLY), state.request.choices
    if not state.decision_so_far.crisis:
        choices = await llm_mode.answer(context, inputs, sampling, number, output)
        return tuple(_complete(state, context.metrics, choice) for choice in choices)
    (choice,) = await llm_mode.answer(context, inputs, sampling, 1, output)
    return (_complete(state, context.metrics, choice),) * number


def _complete(state: TurnState, metrics: Metrics, choice: Choice) -> Choice:
    if choice.blocked:
        return _fixed(state, metrics, "guard", choice.cause, filtered=True)
    if choice.finish_reason != "stop" or choice.cut:
        text = whole_sentences(choice.text)
        if not text:
            return _fixed(state, metrics, "truncated")
        choice = replace(choice, text=text, finish_reason="stop", cut=True, logprobs=None)
    return _finished(state, metrics, choice)


def _output(state: TurnState, context: StageContext, written: Written | None, *, show_reasoning: bool) -> ReplyOutput:
    return ReplyOutput(
        emit=written.emit if written else None,
        guard=state.policy.guard,
        context=state.reply_context,
        judge=context.judge,
        show_reasoning=show_reasoning,
        ending=state.stopped_ending,
        cut=state.fixed.cut(state.reading) if written else "",
    )
