"""Instructor, around OpenAI's client. A counselor writes no objects: `response_model=None` passes replies through.

pip install -r requirements.txt
python main.py                  # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL
"""

import os

import instructor
import openai

client = instructor.from_openai(
    openai.OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "none"),
    )
)
HELLO = [{"role": "user", "content": "I moved to a new city and I miss my old friends."}]
CRISIS = [{"role": "user", "content": "I want to die."}]


def ask(messages, **more):
    return client.chat.completions.create(model="psychechat", messages=messages, response_model=None, **more)


print("-- plain")
print(ask(HELLO).choices[0].message.content)

print("-- stream")
for chunk in ask(HELLO, stream=True):
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()

print("-- crisis")
reply = ask(CRISIS)
print(reply.choices[0].message.content)

print("-- resources")
for resource in reply.psychechat["resources"]:
    print(f"{resource['name']}: {resource['contact']}")
