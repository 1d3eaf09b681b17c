"""Pydantic AI. A name such as `openai:psychechat` asks for /v1/responses, OpenAIChatModel for /v1/chat/completions.

pip install -r requirements.txt
python main.py                  # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL
"""

import asyncio
import os

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

server = OpenAIProvider(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)
agent = Agent(OpenAIChatModel("psychechat", provider=server))
HELLO = "I moved to a new city and I miss my old friends."


async def main() -> None:
    print("-- plain")
    print((await agent.run(HELLO)).output)

    print("-- stream")
    async with agent.run_stream(HELLO) as reply:
        async for piece in reply.stream_text(delta=True):
            print(piece, end="", flush=True)
    print()

    # Pydantic AI keeps the reply's text and drops the `psychechat` object. The words name the resources all the same.
    print("-- crisis")
    print((await agent.run("I want to die.")).output)


asyncio.run(main())
