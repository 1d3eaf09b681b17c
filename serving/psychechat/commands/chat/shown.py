"""What the server found, and what went wrong, as text for the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

import openai
from rich.text import Text

from psychechat.commands.console import printable


def summary(detected: Mapping[str, Any], finish: str) -> Text:
    """The reply's `psychechat` object as one dim line."""
    emotions = ", ".join(f"{emotion['label']} {emotion['probability']:.2f}" for emotion in detected["emotions"])
    shift = "" if detected["shift"] is None else f", shift {detected['shift']:+d}"
    parts = [
        f"{detected['mode']} mode ({detected['reason'].replace('_', ' ')})",
        emotions or "no clear emotion",
        f"valence {detected['valence']:+d}{shift}",
        f"risk {detected['risk']['level'] or 'unknown'}",
    ]
    if rounds := detected["review"]["rounds"]:
        parts.append(f"review {'passed' if detected['review']['passed'] else 'not passed'} after {rounds}")
    if detected["review"]["fallback"]:
        parts.append("answered with fixed words")
    if finish == "length":
        parts.append("cut at the length limit")
    return Text(printable(" · ".join(parts)), style="dim")


def stages(made: Mapping[str, Any]) -> Text:
    """`psychechat.stages`, a line for each thing that a stage made. A refused draft is a model's unreviewed words."""
    return Text("\n".join(printable(line) for line in _stages(made)), style="dim")


def _stages(made: Mapping[str, Any]) -> Iterator[str]:
    if groups := made["groups"]:
        likely = {group: 1 - levels["absent"] for group, levels in groups.items()}
        yield f"groups: {', '.join(f'{group} {share:.2f}' for group, share in likely.items() if share >= 0.05) or '-'}"
    if analysis := made["analysis"]:
        yield f"analysis: {', '.join(analysis['labels']) or 'no label'}. {analysis['analysis']}"
        for name in ("recent_change", "overall_trend", "shift_analysis"):
            if analysis[name]:
                yield f"  {name.replace('_', ' ')}: {analysis[name]}"
    for number, each in enumerate(made["rounds"], start=1):
        draft, review = each["draft"], each["review"]
        yield f"round {number}, {'passed' if review['passed'] else 'refused'}"
        yield f"  draft ({draft['phase']}, {draft['strategy']}): {draft['response']}"
        for reaction in each["reactions"]:
            yield f"  {reaction['type']} seeker: {reaction['response']}"
            if verdict := reaction["verdict"]:
                yield f"    {'passed' if verdict['passed'] else 'failed'}: {verdict['analysis']}"
        for name in ("emotional_suggestion", "safety_suggestion"):
            if review[name]:
                yield f"  {name.replace('_', ' ')}: {review[name]}"
    if not made["rounds"]:
        yield "no draft was reviewed"


def explain(error: openai.OpenAIError | Exception, url: str) -> str:
    """One sentence about what went wrong and what to do."""
    match error:
        case openai.APITimeoutError():
            return f"The server at {url} did not answer in time: try again, or look at its log."
        case openai.APIConnectionError():
            return f"No server answers at {url}: start one with `psychechat serve`, or pass its address with --url."
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "The server does not take this key: pass another with --api-key or PSYCHECHAT_API_KEY."
        case openai.NotFoundError():
            return f"There is no OpenAI API at {url}: does the address end in /v1?"
        case openai.APIError(body={"message": str(message)}):
            return f"The server says: {printable(message)}"
        case openai.OpenAIError():
            return f"The server at {url} answered in a way that no PsychēChat server does: is the address right?"
    return "The reply broke off: the server may have stopped. Look at its log."
