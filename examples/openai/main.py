"""OpenAI's client for Python.

pip install -r requirements.txt
python main.py                  # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL
"""

import os

import openai

client = openai.OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)
HELLO = [{"role": "user", "content": "I moved to a new city and I miss my old friends."}]
CRISIS = [{"role": "user", "content": "I want to die."}]

print("-- plain")
reply = client.chat.completions.create(model="psychechat", messages=HELLO)
print(reply.choices[0].message.content)

print("-- stream")
for chunk in client.chat.completions.create(model="psychechat", messages=HELLO, stream=True):
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()

print("-- crisis")
reply = client.chat.completions.create(model="psychechat", messages=CRISIS)
print(reply.choices[0].message.content)

print("-- resources")  # whom the reply names, to show as links beside it
for resource in reply.psychechat["resources"]:
    print(f"{resource['name']}: {resource['contact']}")
