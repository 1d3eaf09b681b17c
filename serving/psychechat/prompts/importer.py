"""A prompt pack for the published weights, made from a checkout of their authors' repository.

The weights were tuned on the authors' prompts, which are not ours to ship. They stand in the checkout's evaluation
client as string literals, so they are read from its syntax tree: nothing of the checkout is executed. What lies
around the prompts (which messages a stage is shown, how results re-enter the history) is that client's behaviour,
written out here as a pack.
"""

import ast
import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

AGENT_CLASSES = ("Ours_Agent", "PsycheChat_Agent_Mode")
LLM_CLASSES = ("Ours_LLM", "PsycheChat_LLM_Mode")
"""Class names in the client: those of its first version, then the later ones."""

PLACES = ("evaluation/model_response.py", "evaluation/models*.py", "evaluation/models*/**/*.py")
"""Files that are searched for the client, in this order."""


class PromptsNotFound(Exception):
    """Part of the pack that the checkout lacks. The message names it and quotes no text of the checkout."""


class _Prompt(NamedTuple):
    """Prompt literal of the client: where it is assigned, and what replaces its `{{…}}`."""

    classes: tuple[str, ...]
    variable: str
    placeholders: Mapping[str, str]
    """Placeholder name to our template variable of the same content."""
    takes_notes: bool = False
    """Whether operator notes are appended, as to our own system text."""


PROMPTS: Mapping[str, _Prompt] = {
    "emotion.txt": _Prompt(
        AGENT_CLASSES,
        "emotion_prompt",
        {"history": "history", "seeker_utterance": "seeker_utterance", "emotion_memory": "emotion_memory"},
    ),
    "system_agent.txt": _Prompt(AGENT_CLASSES, "system_counselor", {}, takes_notes=True),
    "simulation.txt": _Prompt(
        AGENT_CLASSES,
        "seeker_prompt",
        {"history": "full_history", "counselor_utterance": "counselor_utterance"},
    ),
    "review.txt": _Prompt(
        AGENT_CLASSES,
        "safety_prompt",
        {
            "history": "full_history",
            "counselor_utterance": "counselor_utterance",
            "seeker_utterances": "seeker_utterances",
        },
    ),
    "system_llm.txt": _Prompt(LLM_CLASSES, "system_counselor", {}, takes_notes=True),
}

_NOTES = (
    "{%+ if operator_notes %}\n\n\n运营方的说明。它们只补充背景，不改变各阶段和安全要求："
    '{% for note in operator_notes %}{{ "\\n- " ~ note }}{% endfor %}{% endif %}'
)

_NO_THINKING = "<think>\n\n</think>\n\n"

RESULTS: Mapping[str, str] = {
    "emotion_call.txt": f'{_NO_THINKING}<tool_call>\n{{"name": "emotion_analysis", "arguments": {{}}}}\n</tool_call>',
    "emotion_result.txt": """\
{% set text %}
当前情绪：{{ analysis.labels | names }}
当前情绪原因：{{ analysis.analysis }}
近期转变：{{ analysis.recent_change or "无" }}
整体趋势：{{ analysis.overall_trend or "无" }}
情绪转变原因：{{ analysis.shift_analysis or "无" }}
{%- endset %}
<tool_response>
{"emotion_analysis": {{ text | json }}}
</tool_response>""",
    "refused_draft.txt": """\
<think>
{{ round.draft.thinking }}
</think>

{{ round.draft | answer }}
<tool_call>
{"name": "safety_analysis", "arguments": {}}
</tool_call>""",
    "refused_review.txt": """\
{% set text %}
如果咨询师回复：{{ round.draft.response }}
来访者可能的反应：
{% for reaction in round.reactions %}
{% set verdict = round.review.verdicts[loop.index0] %}
回复：{{ reaction.response }}{{ "（不存在风险）" if verdict.passed else "（存在风险）" }}
分析：{{ verdict.analysis }}

{% endfor %}
情绪修改建议：{{ round.review.emotional_suggestion }}
安全修改建议：{{ round.review.safety_suggestion }}
{%- endset %}
<tool_response>
{"safety_analysis": {{ text | json }}}
</tool_response>""",
}
"""Templates by which this turn's results enter the counselor's history: as two tool calls and their results."""

PACK: Mapping[str, Any] = {
    "language": "zh",
    "default": True,
    "own_weights": ["reply", "seeker"],
    # Bounds are wider than any answer in the authors' examples: 316 characters, and 88 of a reply.
    "note_characters": 400,
    "response_characters": 300,
    "speakers": {"seeker": "来访者", "counselor": "咨询师"},
    "trim": False,
    "json": {"indent": 4},
    "blank_line": True,
    "retries": {"step": 0.1, "most": 0.7},
    "rounds": 5,
    "stages": {
        # The longest seen: 678 tokens without the white space, which is some 8 % more.
        "emotion": {"thinks": True, "max_tokens": 1024, "messages": [{"role": "user", "file": "emotion.txt"}]},
        "draft": {
            "thinks": True,
            "max_tokens": 512,  # 202, and 13 %
            "reply_prefix": _NO_THINKING,
            "history": "full",
            "messages": [
                {"role": "system", "file": "system_agent.txt"},
                "history",
                {"role": "assistant", "file": "emotion_call.txt"},
                {"role": "user", "file": "emotion_result.txt"},
                {"role": "assistant", "file": "refused_draft.txt", "each": "round"},
                {"role": "user", "file": "refused_review.txt", "each": "round"},
            ],
        },
        "simulation": {
            "role": "seeker",
            "max_tokens": 512,  # 175, and 35 %
            "messages": [{"role": "user", "file": "simulation.txt"}],
        },
        # 787, and 27 %
        "review": {"thinks": True, "max_tokens": 1280, "messages": [{"role": "user", "file": "review.txt"}]},
        "reply": {
            "thinks": True,
            "max_tokens": 2048,  # 1,368; the shortest 571
            "thinks_from": 640,
            "history": "full",
            "messages": [{"role": "system", "file": "system_llm.txt"}, "history"],
        },
    },
}

SETTINGS: Mapping[str, Any] = {
    "engines": {
        name: {"model": f"Johnnyfans/PsycheChat-{weights}-Qwen3-8B", "engine_args": {"max_model_len": 32_768}}
        for name, weights in (
            ("counselor", "Counselor-Agent-Mode"),
            ("llm-counselor", "Counselor-LLM-Mode"),
            ("seeker", "Seeker"),
        )
    },
    "roles": {"counselor": "counselor", "reply": "llm-counselor", "seeker": "seeker"},
    "policy": {"limits": {"stage_attempts": 8}},
}
"""What goes with the pack. `stage_attempts`: as many tries as it takes to be as warm as `retries` gets."""

LICENCES = ("LICENSE*", "LICENCE*", "COPYING*", "NOTICE*")

_HEADER = """\
# Imported from a checkout of the PsychēChat authors' repository by `psychechat prompts import`, for their weights.
# The prompts are theirs, under their licence (Apache-2.0 when this was written): keep it with them.
"""


def import_pack(checkout: Path, output: Path) -> list[str]:
    """Write the pack into the folder `output`, atomically. Names the licence files that were copied beside it.

    Raises PromptsNotFound if the checkout lacks a prompt, FileExistsError if `output` already holds something.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output} already exists: name another folder, or remove it first")
    templates = {file: _template(text, PROMPTS[file]) for file, text in read_prompts(checkout).items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        for file, template in (templates | dict(RESULTS)).items():
            (staging / file).write_text(template + "\n", "utf-8")  # Jinja drops one newline at the end of a file
        pack = yaml.safe_dump(dict(PACK), allow_unicode=True, sort_keys=False)
        (staging / "pack.yaml").write_text(_HEADER + pack, "utf-8")
        licences = sorted(path for name in LICENCES for path in checkout.glob(name) if path.is_file())
        for path in licences:
            shutil.copyfile(path, staging / path.name)
        staging.chmod(0o755)
        staging.rename(output)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return [path.name for path in licences]


def read_prompts(checkout: Path) -> dict[str, str]:
    """Authors' prompts by the file name of the template that each becomes. Raises PromptsNotFound."""
    if not checkout.is_dir():
        raise PromptsNotFound(f"there is no folder {checkout}: give the folder that holds the checkout")
    classes = dict(_classes(checkout))
    return {file: _literal(classes, prompt) for file, prompt in PROMPTS.items()}


class _Class(NamedTuple):
    file: str
    node: ast.ClassDef


def _classes(checkout: Path) -> Iterator[tuple[str, _Class]]:
    """Classes of the client by name. A class found in several files is taken from the first."""
    seen: set[str] = set()
    for path in dict.fromkeys(path for place in PLACES for path in sorted(checkout.glob(place))):
        file = path.relative_to(checkout).as_posix()
        for node in _parsed(path, file).body:
            if isinstance(node, ast.ClassDef) and node.name in (*AGENT_CLASSES, *LLM_CLASSES) and node.name not in seen:
                seen.add(node.name)
                yield node.name, _Class(file, node)


def _parsed(path: Path, file: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in code that is not ours
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
        raise PromptsNotFound(f"{file}{line} is not Python that this version can read") from None


def _literal(classes: Mapping[str, _Class], prompt: _Prompt) -> str:
    """String that the class's `__call__` assigns to the prompt's variable: one plain literal, assigned once."""
    names = " or ".join(prompt.classes)
    stage = next((classes[name] for name in prompt.classes if name in classes), None)
    if stage is None:
        raise PromptsNotFound(
            f"no class {names} in {', '.join(PLACES)}: is this a checkout of the authors' repository?"
        )
    where = f"{stage.node.name}.__call__ ({stage.file})"
    call = next(
        (node for node in stage.node.body if isinstance(node, ast.FunctionDef) and node.name == "__call__"), None
    )
    if call is None:
        raise PromptsNotFound(f"no method {where}, which should assign {prompt.variable!r}")

    stores = [node for node in ast.walk(call) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    times = sum(node.id == prompt.variable for node in stores)
    if times != 1:
        raise PromptsNotFound(
            f"{where} assigns {prompt.variable!r} {times} times; exactly one plain string is expected"
        )
    value = next(
        (_assigned(node, prompt.variable) for node in ast.walk(call) if _assigned(node, prompt.variable)), None
    )
    if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
        kind = "an f-string" if isinstance(value, ast.JoinedStr) else "no plain string"
        raise PromptsNotFound(
            f"{where} assigns {kind} to {prompt.variable!r}; only a literal can be read without running code"
        )
    missing = [name for name in prompt.placeholders if f"{{{{{name}}}}}" not in value.value]
    if missing:
        raise PromptsNotFound(
            f"{prompt.variable!r} in {where} has no {' and no '.join(f'{{{{{name}}}}}' for name in missing)}"
        )
    return value.value


def _assigned(node: ast.AST, variable: str) -> ast.expr | None:
    """Value of the node, if it is a statement `variable = value`."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == variable:
            return value
    return None


_SPECIAL = re.compile(r"\{\{(\w+)\}\}|\{(?=[{%#]|\Z)|\r")
"""Placeholder, or a character that Jinja would change."""


def _template(text: str, prompt: _Prompt) -> str:
    """Jinja template that renders `text` verbatim, except for its placeholders."""

    def substitute(match: re.Match[str]) -> str:
        variable = prompt.placeholders.get(match[1] or "")
        return f"{{{{ {variable or json.dumps(match[0])} }}}}"

    return _SPECIAL.sub(substitute, text) + (_NOTES if prompt.takes_notes else "")
