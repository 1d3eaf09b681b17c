"""Memory of a turn: recalled before it, stored after it, forgotten by session.

A failure to recall or to store costs the turn its memory only; a failure to forget is raised.
"""

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

from psychechat.concurrency import in_time
from psychechat.conversation import Choice, EmotionAnalysis, EmotionMemory, PastTurn, Reply, Said, Utterance
from psychechat.errors import MemoryUnavailable
from psychechat.logs import log_kind
from psychechat.memory.base import Unreadable
from psychechat.pipeline.request import TurnMeter, TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.state import TurnState
from psychechat.risk import worse
from psychechat.safety.conversation_risk import LineReader, Names, says_little, seeker_lines

logger = logging.getLogger(__name__)

_SECONDS = 1.0
"""Timeout of recalling, and of storing."""

_KEPT = 16
"""Utterances of a session whose hashes are kept."""

_ANALYSIS_TURNS = 3
"""An analysis is told for so many turns, if those after it make none of their own."""

_FORGET_SECONDS = 5.0
"""Timeout of forgetting; longer, since a client waits for the confirmation."""


async def recall(pipeline: Pipeline, request: TurnRequest, meter: TurnMeter) -> tuple[EmotionMemory | None, str]:
    """Memory of the previous turn, and this turn's session id: the client's, else the memory's, else new."""
    memory = None
    if len(request.conversation.utterances) > 1:  # else there is no past, even under a known session id
        with meter.timed("memory"):
            memory = await _recalled(pipeline, request)
    return memory, request.session or (memory.session_id if memory else "") or secrets.token_hex(12)


async def _recalled(pipeline: Pipeline, request: TurnRequest) -> EmotionMemory | None:
    recalls, memory = pipeline.metrics.recalls, None
    try:
        async with in_time(_SECONDS):
            found = _by_words if request.session is None else _by_name
            memory = await found(pipeline, request)
            if not _knows_all(pipeline, request, memory) and (hold := await _hold(pipeline, request)):
                memory = replace(memory, risk=worse(memory.risk, hold.risk)) if memory else hold
    except Exception as error:
        log_kind(logger, request.request_id, error, "no hold recalled" if memory else "nothing recalled")
        recalls.labels("unreadable" if isinstance(error, Unreadable) else "error").inc()
        return memory
    recalls.labels("hit" if memory else "miss").inc()
    return memory


async def _by_words(pipeline: Pipeline, request: TurnRequest) -> EmotionMemory | None:
    """Memory of a conversation without a name, which the client has sent whole."""
    key = pipeline.memory_keys.before(request.tenant, request.conversation)
    memory = await pipeline.memory.recall(key) if key else None
    return memory and replace(memory, said=_said(pipeline, request.tenant, request.conversation.answered[-_KEPT:]))


async def _by_name(pipeline: Pipeline, request: TurnRequest) -> EmotionMemory | None:
    """Memory of the session, if it agrees with what the client has sent: another conversation may go by its name.

    It agrees if it ends as the conversation does, as far back as that goes, or knows one of the seeker's lines. Clients
    trim what was said and alter replies; what many people say, such as a greeting, tells nobody apart.
    """
    memory = await pipeline.memory.recall(pipeline.memory_keys.of_session(request.tenant, request.session or ""))
    if memory is None or _knows_all(pipeline, request, memory):
        return memory
    past = _said(pipeline, request.tenant, request.conversation.utterances[:-1])
    return replace(memory, subject=None) if memory.said.shares_a_line(past) else None


async def _hold(pipeline: Pipeline, request: TurnRequest) -> EmotionMemory | None:
    """What is known of a crisis that holds the conversation, by its end: found where a client without a session's name
    trims it, and where the name's memory is another conversation's or knows less than was sent. No emotions, and no
    session: others may have had the same reply.
    """
    answered = request.conversation.answered
    if not answered:
        return None
    memory = await pipeline.memory.recall(pipeline.memory_keys.of_end(request.tenant, answered))
    return memory and _hold_of(memory)


def _hold_of(memory: EmotionMemory) -> EmotionMemory:
    """Without the valence, which tells of emotions."""
    return EmotionMemory("", memory.language, risk=replace(memory.risk, valence=None))


def _knows_all(pipeline: Pipeline, request: TurnRequest, memory: EmotionMemory | None) -> bool:
    """Whether memory tells of all that the client has sent, up to the last reply. At a first turn that is nothing."""
    answered = request.conversation.answered
    if memory is None:
        return not answered
    return memory.said.covers(_said(pipeline, request.tenant, answered[-_KEPT:]))


def _said(pipeline: Pipeline, tenant: str, utterances: Sequence[Utterance]) -> Said:
    names = [pipeline.memory_keys.of_utterance(tenant, utterance) for utterance in utterances]
    lines = (n for n, u in zip(names, utterances, strict=True) if u.speaker == "seeker" and not says_little(u.text))
    return Said(tuple(names), tuple(lines))


def _said_now(pipeline: Pipeline, request: TurnRequest, memory: EmotionMemory | None, reply: Utterance) -> Said:
    """The end of the conversation with this reply. Where the client has trimmed it, memory knows what was before."""
    conversation = request.conversation
    if memory is None or not _knows_all(pipeline, request, memory):
        return _said(pipeline, request.tenant, (*conversation.utterances, reply)[-_KEPT:])
    newest = conversation.utterances[len(conversation.answered) :]
    return memory.said.then(_said(pipeline, request.tenant, (*newest, reply)[-_KEPT:]), _KEPT)


def names(pipeline: Pipeline, request: TurnRequest) -> Names:
    """Keyed hashes for the words of the request's conversation."""
    places = partial(pipeline.episode_keys.places, request.tenant, request.conversation)
    return Names(partial(pipeline.memory_keys.of_line, request.tenant), cache(places))


def line_reader(pipeline: Pipeline, state: TurnState) -> LineReader:
    """What the turn reads of the seeker's lines, once its memory was recalled."""
    request = state.request
    return LineReader(
        seeker_lines(request.conversation),
        state.reading,
        state.policy,
        state.remembered,
        pipeline.read_lines,
        names(pipeline, request),
        again=state.policy.risk.conversation != "off" and not _knows_all(pipeline, request, state.reading.memory),
    )


async def remember(pipeline: Pipeline, state: TurnState, reply: Reply, meter: TurnMeter) -> None:
    """Stored under the client's session id, else under the conversation with each choice as its reply; while a crisis
    holds the conversation, the hold under its end as well, once the rest is stored.

    Never under both of the first: other conversations may begin with the same words, and would then get this session's
    id. Where this turn's emotions are unknown, the last known ones are stored again.
    """
    if state.session is None:
        return
    reading, request = state.reading, state.request
    last = reading.memory
    last_known = last.labels if last else None
    known = last_known if reading.labels is None else reading.labels
    stores = pipeline.metrics.stores
    replies = [Utterance("counselor", choice.text) for choice in reply.choices]
    try:
        session = pipeline.memory_keys.of_session(request.tenant, state.session)
        memory = EmotionMemory(
            state.session,
            reading.language,
            known,
            *_last_analysis(state),
            turns=_turns(pipeline, state, reply.choices),
            subject=last.subject if reading.labels is None and last else reading.subject,
            risk=reading.conversation,
            said=_said_now(pipeline, request, reading.memory, replies[0]),
            revision=secrets.token_hex(4),
            after=reading.memory.revision if reading.memory else "",
        )
        places = _places(pipeline, request, replies)
        async with in_time(_SECONDS):
            kept = await pipeline.memory.remember(places, memory, session=session, age=meter.elapsed)
    except Exception as error:
        log_kind(logger, request.request_id, error, "nothing remembered")
        stores.labels("error").inc()
    else:
        stores.labels("kept" if kept else "forgotten").inc()
        if kept and reading.conversation.held:
            await _remember_hold(pipeline, request, replies, _hold_of(memory))


def _last_analysis(state: TurnState) -> tuple[EmotionAnalysis | None, int]:
    """With its age at the next turn."""
    memory = state.reading.memory
    if state.agent:
        return state.agent.analysis, 1
    if memory is None or memory.analysis is None or memory.analysis_age >= _ANALYSIS_TURNS:
        return None, 1
    return memory.analysis, memory.analysis_age + 1


def _turns(pipeline: Pipeline, state: TurnState, choices: Sequence[Choice]) -> tuple[PastTurn, ...]:
    """What later turns of the pack show again, with this turn's: once for each reply that the client may go on with.

    Not of a reply of which something was withheld: its draft has it.
    """
    pack, memory, agent = pipeline.packs[state.reading.language], state.reading.memory, state.agent
    made = [
        PastTurn(
            pipeline.memory_keys.of_utterance(state.request.tenant, Utterance("counselor", choice.text)),
            agent.analysis if agent else None,
            agent.rounds if agent else (),
            choice.thinking,
        )
        for choice in choices
        if not (choice.fallback or choice.blocked or choice.withheld)
    ]
    return pack.latest((*(memory.turns if memory else ()), *made))


def earlier_turns(pipeline: Pipeline, request: TurnRequest, memory: EmotionMemory | None) -> Mapping[int, PastTurn]:
    """What memory knows of earlier turns, by the place of their reply among the utterances."""
    if memory is None or not memory.turns:
        return {}
    left, found = list(memory.turns), dict[int, PastTurn]()
    for place, utterance in reversed([*enumerate(request.conversation.utterances)]):
        if utterance.speaker == "counselor":
            name = pipeline.memory_keys.of_utterance(request.tenant, utterance)
            ends = [at for at, turn in enumerate(left) if turn.reply == name]
            if ends:  # the same reply may have been given before
                found[place] = left[ends[-1]]
                del left[ends[-1] :]
    return found


async def _remember_hold(
    pipeline: Pipeline, request: TurnRequest, replies: Sequence[Utterance], hold: EmotionMemory
) -> None:
    """By itself, since fixed words give many conversations one end, where they get into each other's way."""
    try:
        async with in_time(_SECONDS):
            await pipeline.memory.remember_hold(_ends(pipeline, request, replies), hold)
    except Exception as error:
        log_kind(logger, request.request_id, error, "no hold remembered by the conversation's end")


def _places(pipeline: Pipeline, request: TurnRequest, replies: Sequence[Utterance]) -> Sequence[bytes]:
    keys, tenant = pipeline.memory_keys, request.tenant
    if request.session is not None:
        places = [keys.of_session(tenant, request.session)]
    else:
        places = [keys.after(tenant, request.conversation, reply.text) for reply in replies]
    return list(dict.fromkeys(places))  # choices may be alike


def _ends(pipeline: Pipeline, request: TurnRequest, replies: Sequence[Utterance]) -> Sequence[bytes]:
    """Those that others may have as well come last."""
    newest = request.conversation.utterances[-1]
    ends = [(*line, reply) for line in ((newest,), ()) for reply in replies]
    return list(dict.fromkeys(pipeline.memory_keys.of_end(request.tenant, end) for end in ends))


async def forget(pipeline: Pipeline, tenant: str, session: str, request_id: str) -> None:
    """Deletion of everything that the session's turns have stored but holds, and of what turns under way would store.

    An unknown session is no error. Raises MemoryUnavailable if anything may be left.
    """
    try:
        async with in_time(_FORGET_SECONDS):
            await pipeline.memory.forget(pipeline.memory_keys.of_session(tenant, session))
    except Exception as error:
        logger.error("request %s: %s; nothing forgotten", request_id, type(error).__name__)
        raise MemoryUnavailable("The memory cannot be reached, so the session may not be forgotten yet.") from None
