"""Whether a turn's prompts fit its engines' contexts, asked before anything is written."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from psychechat.concurrency import in_time, together
from psychechat.conversation import Mode, StageInputs
from psychechat.engines.base import Generator, StageName
from psychechat.errors import ContextLengthExceeded, EngineUnavailable
from psychechat.pipeline.modes.stages import STAGES, StageContext, stages_by_generator


async def inputs_that_fit(mode: Mode, context: StageContext, inputs: StageInputs, seconds: float) -> StageInputs:
    """The inputs, without what earlier turns have made where that is too long.

    Whom the mode asks is asked about all of its stages, not the mode's alone: the next turn may be in the other one.
    `seconds`: for all engines together, twice where earlier turns are left out. Raises ContextLengthExceeded, or what
    else keeps a stage of this mode from running.
    """
    if inputs.earlier:
        with suppress(ContextLengthExceeded):
            await _check(mode, context, inputs, seconds)
            return inputs
        inputs = replace(inputs, earlier={})
    await _check(mode, context, inputs, seconds)
    return inputs


async def _check(mode: Mode, context: StageContext, inputs: StageInputs, seconds: float) -> None:
    asked = stages_by_generator(context.cast, context.pack)
    needed = [(generator, stages) for generator, stages in asked if {*stages} & {*STAGES[mode]}]
    try:
        async with in_time(seconds):
            await together(*(_check_stages(*of, context, inputs) for of in needed))
    except TimeoutError:
        raise EngineUnavailable("The counselor is not available.") from None


async def _check_stages(
    generator: Generator, stages: Sequence[StageName], context: StageContext, inputs: StageInputs
) -> None:
    prompt, reserve = context.pack.longest(inputs, stages), context.pack.reserve(context.rounds, stages)
    await generator.check_fits(prompt, reserve, context.call)
