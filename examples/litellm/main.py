"""LiteLLM's SDK. `openai/` before the model's name says which API the server speaks.

pip install -r requirements.txt
python main.py                  # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL
"""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches a table of prices from the internet

import litellm

SERVER = {
    "model": "openai/psychechat",
    "api_base": os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    "api_key": os.environ.get("OPENAI_API_KEY", "none"),
}
HELLO = [{"role": "user", "content": "I moved to a new city and I miss my old friends."}]
CRISIS = [{"role": "user", "content": "I want to die."}]

print("-- plain")
print(litellm.completion(messages=HELLO, **SERVER).choices[0].message.content)

print("-- stream")
for chunk in litellm.completion(messages=HELLO, stream=True, **SERVER):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()

print("-- crisis")
reply = litellm.completion(messages=CRISIS, **SERVER)
print(reply.choices[0].message.content)

print("-- resources")
for resource in reply.psychechat["resources"]:
    print(f"{resource['name']}: {resource['contact']}")
