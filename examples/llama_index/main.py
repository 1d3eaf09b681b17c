"""LlamaIndex, with OpenAILike. `is_chat_model=True`: else it asks for /v1/completions, which a chat server has not.

pip install -r requirements.txt
python main.py                  # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL
"""

import os

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="psychechat",
    api_base=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
    is_chat_model=True,
)
HELLO = [ChatMessage(role="user", content="I moved to a new city and I miss my old friends.")]
CRISIS = [ChatMessage(role="user", content="I want to die.")]

print("-- plain")
print(llm.chat(HELLO).message.content)

print("-- stream")
for piece in llm.stream_chat(HELLO):
    print(piece.delta, end="", flush=True)
print()

print("-- crisis")
reply = llm.chat(CRISIS)
print(reply.message.content)

print("-- resources")  # `raw` is the answer as OpenAI's client has it
for resource in reply.raw.psychechat["resources"]:
    print(f"{resource['name']}: {resource['contact']}")
