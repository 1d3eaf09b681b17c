"""A stand-in for a checkout of the authors' repository: the shape of their client, and words of our own in it."""

from pathlib import Path

# Each holds what Jinja, a trim or a careless replace would spoil: braces, tags, escapes, white space at its ends.
EMOTION = (
    "\n# Feelings {{not_ours}} {% if x %} {# no #}\nso far:\n{{history}}\n"
    'now: {{{seeker_utterance}}}\n{{emotion_memory}}{"a": {}}  '
)
SYSTEM = "Listen. Tools: <tool_call>\n{\"name\": <n>}\n</tool_call> and {{history}}, which stays. '''quoted''' {"
SIMULATION = "Reply as the seeker.\n{{history}}\n==\n{{counselor_utterance}}\n[{\"type\": 1}, {'%'}]\n\n"
REVIEW = "Judge.\n{{history}}\n{{counselor_utterance}}\n{{seeker_utterances}}\n{%raw%} {{ 7 * 7 }} \\d"
LLM_SYSTEM = "Think first, in <think>\n</think>. {{{{ }}}} \t"


def client(agent: str = "Ours_Agent", llm: str = "Ours_LLM", **replaced: str) -> str:
    """The source of a client. It must never run: importing it fails."""
    literal = {
        "emotion_prompt": repr(EMOTION),
        "system_counselor": repr(SYSTEM),
        "seeker_prompt": repr(SIMULATION),
        "safety_prompt": repr(REVIEW),
        "llm_system": repr(LLM_SYSTEM),
    } | replaced
    return f"""
raise SystemExit("executed")
PATTERN = "\\d"  # an escape that newer Pythons warn of

class Someone_Else:
    def __call__(self, messages):
        system_counselor = "another method's"

class {llm}():
    def __init__(self, model_name=''):
        system_counselor = "not in __call__"
    def __call__(self, messages, counselor={{}}, temperature=0.0) -> str:
        system_counselor = {literal["llm_system"]}
        return [{{'role': 'system', 'content': system_counselor}}]

class {agent}():
    def __call__(self, messages, counselor={{}}, temperature=0.0) -> str:
        emotion_prompt = {literal["emotion_prompt"]}
        user_emotion = emotion_prompt.replace('{{{{history}}}}', '')
        while True:
            system_counselor = {literal["system_counselor"]}
            seeker_prompt = {literal["seeker_prompt"]}
            safety_prompt = {literal["safety_prompt"]}
"""


def checkout(root: Path, source: str, file: str = "evaluation/model_response.py") -> Path:
    path = root / "checkout" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, "utf-8")
    return root / "checkout"
