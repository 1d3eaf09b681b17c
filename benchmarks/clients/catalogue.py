"""What is tried: each client has its folder in examples/, with what it needs and how it is run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CHECKS = Path(__file__).parent / "checks"

Kind = Literal["talk", "page", "service", "load"]
"""Prints a conversation; is looked at in a browser; stands before or beside the server; asks much, and counts."""


@dataclass(frozen=True)
class Client:
    name: str
    title: str
    kind: Kind = "talk"
    torch: bool = False
    ours: bool = False
    """Is in this project's own environment."""
    big: bool = False
    """Takes gigabytes and minutes to install: tried where it is asked for."""

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.name

    @property
    def node(self) -> bool:
        return (self.folder / "package.json").exists()

    @property
    def check(self) -> Path:
        return CHECKS / f"{self.name}_client.{'mjs' if self.node else 'py'}"

    @property
    def pinned(self) -> dict[str, str]:
        """The packages that its example asks for, with their versions; none for a page."""
        if self.kind == "page":
            return {}
        if self.node:
            packages: dict[str, str] = json.loads((self.folder / "package.json").read_text("utf-8"))["dependencies"]
            return packages
        lines = (self.folder / "requirements.txt").read_text("utf-8").split()
        return {name.partition("[")[0]: version for name, _, version in (line.partition("==") for line in lines)}


CLIENTS = (
    Client("openai", "OpenAI's client, Python"),
    Client("openai_node", "OpenAI's client, Node"),
    Client("httpx", "plain HTTP"),
    Client("browser", "a page of another site", kind="page", ours=True),
    Client("ai_sdk", "AI SDK"),
    Client("langchain", "LangChain"),
    Client("llama_index", "LlamaIndex"),
    Client("pydantic_ai", "Pydantic AI"),
    Client("instructor", "Instructor"),
    Client("litellm", "LiteLLM, SDK"),
    Client("litellm_proxy", "LiteLLM, proxy", kind="service"),
    Client("handover", "handover to a person", kind="service"),
    Client("open_webui", "Open WebUI", kind="service", torch=True, big=True),
    Client("guidellm", "GuideLLM", kind="load", torch=True),
    Client("vllm_bench", "vLLM's bench", kind="load", ours=True),
)
