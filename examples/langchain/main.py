"""LangChain's ChatOpenAI.

pip install -r requirements.txt
python main.py                  # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL
"""

import os

from langchain_openai import ChatOpenAI

chat = ChatOpenAI(
    model="psychechat",
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)
HELLO = "I moved to a new city and I miss my old friends."

print("-- plain")
print(chat.invoke(HELLO).content)

print("-- stream")
for chunk in chat.stream(HELLO):
    print(chunk.content, end="", flush=True)
print()

# LangChain keeps the reply's text and drops the `psychechat` object. The words name the resources all the same.
print("-- crisis")
print(chat.invoke("I want to die.").content)
