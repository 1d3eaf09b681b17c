"""Instructor wraps the official client to get objects out of text. A counselor writes none, and says so by name."""

import os

import instructor
import openai
import pytest
from instructor.core.exceptions import InstructorRetryException
from pydantic import BaseModel

URL = os.environ["PSYCHECHAT_URL"]
HELLO = [{"role": "user", "content": "I could not sleep."}]
CRISIS = [{"role": "user", "content": "I want to die."}]
HELP = "local emergency number"


class Feeling(BaseModel):
    name: str


def client(mode: instructor.Mode) -> instructor.Instructor:
    return instructor.from_openai(openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0), mode=mode)


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.MD_JSON])
def test_replies_pass_through(mode: instructor.Mode) -> None:
    reply = client(mode).chat.completions.create(model="psychechat", messages=HELLO, response_model=None)
    assert reply.choices[0].message.content
    chunks = client(mode).chat.completions.create(model="psychechat", messages=HELLO, response_model=None, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == reply.choices[0].message.content


@pytest.mark.parametrize(
    ("mode", "param"), [(instructor.Mode.TOOLS, "tool_choice"), (instructor.Mode.JSON, "response_format")]
)
def test_objects_are_refused_by_name(mode: instructor.Mode, param: str) -> None:
    with pytest.raises(InstructorRetryException) as refused:
        client(mode).chat.completions.create(model="psychechat", messages=HELLO, response_model=Feeling, max_retries=0)
    assert f"'{param}' is not supported" in str(refused.value)


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON])
def test_a_crisis_in_such_a_request_is_answered(mode: instructor.Mode) -> None:
    """Instructor finds no object in it and raises; the words are in what it raises."""
    with pytest.raises(InstructorRetryException) as raised:
        client(mode).chat.completions.create(model="psychechat", messages=CRISIS, response_model=Feeling, max_retries=0)
    assert HELP in raised.value.last_completion.choices[0].message.content
