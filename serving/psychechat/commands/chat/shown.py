"""What the server found, and what went wrong, as text for the terminal."""

from collections.abc import Iterator, Mapping

import openai
from rich.text import Text

from psychechat.commands.chat.told import Told, at, number, part, parts, text
from psychechat.commands.console import printable

_LONGEST = 300
"""Characters of what a server says went wrong."""


class Unreadable(Exception):
    """What the server answered is not what one of OpenAI's API answers."""


def summary(detected: Told, finish: str) -> Text:
    """The reply's `psychechat` object, as much of it as there is, as one dim line."""
    return Text(printable(" · ".join(_summary(detected, finish))), style="dim")


def _summary(detected: Told, finish: str) -> Iterator[str]:
    if mode := text(detected, "mode"):
        reason = text(detected, "reason").replace("_", " ")
        yield f"{mode} mode ({reason})" if reason else f"{mode} mode"
    if (emotions := parts(detected, "emotions")) is not None:
        yield ", ".join(filter(None, map(_emotion, emotions))) or "no clear emotion"
    if (valence := number(detected, "valence")) is not None:
        shift = number(detected, "shift")
        yield f"valence {valence:+g}" + ("" if shift is None else f", shift {shift:+g}")
    if risk := part(detected, "risk"):
        yield f"risk {text(risk, 'level') or 'unknown'}"
    if rounds := number(detected, "review", "rounds"):
        yield f"review {'passed' if at(detected, 'review', 'passed') is True else 'not passed'} after {rounds:g}"
    if at(detected, "review", "fallback") is True:
        yield "answered with fixed words"
    if finish == "length":
        yield "cut at the length limit"


def _emotion(emotion: Told) -> str:
    probability = number(emotion, "probability")
    return text(emotion, "label") + ("" if probability is None else f" {probability:.2f}")


def stages(detected: Told) -> Text:
    """What each stage made, a line for each thing; or why there is nothing to show. A refused draft is a model's
    unreviewed words.
    """
    return Text("\n".join(printable(line) for line in _stages(detected)), style="dim")


def _stages(detected: Told) -> Iterator[str]:
    made = at(detected, "stages")
    if not detected:
        yield (
            "The server sends no psychechat object, so there are no stages: it is no PsychēChat server, or what stands "
            "before it drops what it does not know."
        )
    elif made is None:
        yield (
            "The server shows no stages: they need policy.show_stages: true in its settings and, where it has API "
            "keys, one that inspects (psychechat keys new NAME --inspect)."
        )
    elif not isinstance(made, Mapping):
        yield "The server's stages have a shape that is not known here: is it of another version?"
    else:
        yield from _made(made)
        if missing := [name for name in ("groups", "analysis", "rounds") if name not in made]:
            yield f"The server does not tell {', '.join(missing)}: is it of another version?"


def _made(made: Told) -> Iterator[str]:
    if groups := part(made, "groups"):
        absent = {group: number(levels, "absent") for group, levels in groups.items()}
        likely = {group: 1 - share for group, share in absent.items() if share is not None}
        yield f"groups: {', '.join(f'{group} {share:.2f}' for group, share in likely.items() if share >= 0.05) or '-'}"
    if analysis := part(made, "analysis"):
        labels = at(analysis, "labels")
        named = [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []
        yield f"analysis: {', '.join(named) or 'no label'}. {text(analysis, 'analysis')}".rstrip()
        for name in ("recent_change", "overall_trend", "shift_analysis"):
            if told := text(analysis, name):
                yield f"  {name.replace('_', ' ')}: {told}"
    rounds = parts(made, "rounds")
    for round_number, each in enumerate(rounds or (), start=1):
        yield from _round(round_number, each)
    if rounds == []:
        yield "no draft was reviewed"


def _round(round_number: int, each: Told) -> Iterator[str]:
    yield f"round {round_number}, {'passed' if at(each, 'review', 'passed') is True else 'refused'}"
    draft = part(each, "draft")
    kind = ", ".join(filter(None, (text(draft, "phase"), text(draft, "strategy")))) or "of no kind"
    yield f"  draft ({kind}): {text(draft, 'response')}"
    for reaction in parts(each, "reactions") or ():
        yield f"  {text(reaction, 'type') or 'a'} seeker: {text(reaction, 'response')}"
        if verdict := part(reaction, "verdict"):
            yield f"    {'passed' if verdict.get('passed') is True else 'failed'}: {text(verdict, 'analysis')}"
    for name in ("emotional_suggestion", "safety_suggestion"):
        if told := text(each, "review", name):
            yield f"  {name.replace('_', ' ')}: {told}"


def explain(error: Exception, url: str) -> str:
    """One sentence about what went wrong and what to do."""
    match error:
        case openai.APITimeoutError():
            return f"The server at {url} did not answer in time: try again, or look at its log."
        case openai.APIConnectionError():
            return f"No server answers at {url}: start one with `psychechat serve`, or pass its address with --url."
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "The server does not take this key: pass another with --api-key or PSYCHECHAT_API_KEY."
        case openai.NotFoundError(body={"code": "model_not_found", "message": str(message)}):
            return _says(message)
        case openai.NotFoundError():
            return f"There is no OpenAI API at {url}: does the address end in /v1?"
        case openai.APIError(body={"message": str(message)} | {"detail": str(message)} | str(message)) if message:
            return _says(message)
        case openai.OpenAIError() | Unreadable():
            return f"The server at {url} answered in a way that no server of OpenAI's API does: is the address right?"
    return "The reply broke off: the server may have stopped. Look at its log."


def _says(message: str) -> str:
    return f"The server says: {printable(message)[:_LONGEST]}"
