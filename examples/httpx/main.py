"""Plain HTTP, for those who want no client: the body, the events of a stream, and the `psychechat` object.

pip install -r requirements.txt
python main.py                  # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL
"""

import json
import os

import httpx

client = httpx.Client(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    headers={"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"},
    timeout=120,  # a turn may take 90 seconds
)


def body(words, **more):
    return {"model": "psychechat", "messages": [{"role": "user", "content": words}], **more}


print("-- plain")
answer = client.post("/chat/completions", json=body("I moved to a new city and I miss my old friends."))
print(answer.raise_for_status().json()["choices"][0]["message"]["content"])

print("-- stream")
asked = body("I moved to a new city and I miss my old friends.", stream=True)
with client.stream("POST", "/chat/completions", json=asked) as answer:
    for line in answer.raise_for_status().iter_lines():  # lines that begin with a colon keep the connection open
        if line.startswith("data: ") and line != "data: [DONE]":
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise SystemExit(event["error"]["message"])
            for choice in event["choices"]:
                print(choice["delta"].get("content") or "", end="", flush=True)
print()

print("-- crisis")
reply = client.post("/chat/completions", json=body("I want to die.")).raise_for_status().json()
print(reply["choices"][0]["message"]["content"])

print("-- resources")
for resource in reply["psychechat"]["resources"]:
    print(f"{resource['name']}: {resource['contact']}")
