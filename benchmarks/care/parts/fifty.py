"""Fifty replies for a person to read, to lines of our own: sad, angry, glad, bored and in danger, in both languages."""

from benchmarks.care import texts
from benchmarks.care.asking import Answer, Client
from benchmarks.care.texts import Line


def shown(line: Line, answer: Answer) -> str:
    """One line with its reply, and how it was routed."""
    if answer.is_error:
        return f"[{line.kind}, {line.language}] {line.text}\n    ! {answer.status} {answer.code}"
    risk = answer.found.get("risk") or {}
    facts = [str(answer.found.get("mode")), str(answer.reason), str(risk.get("kind")), str(answer.finish.get(0))]
    facts += [name for name in ("fallback", "cut") if answer.review(name)]
    reply = "\n".join(f"    {part}" for part in answer.text.splitlines())
    return f"[{line.kind}, {line.language}] {line.text}\n{reply}\n    ({', '.join(facts)})"


async def run(client: Client, model: str) -> None:
    for line in texts.fifty():
        answer = await client.turn([{"role": "user", "content": line.text}], model=model)
        print(shown(line, answer), end="\n\n", flush=True)
