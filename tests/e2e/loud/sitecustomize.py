"""Put first on PYTHONPATH, Python runs this in every process of a server: its libraries say all that they can, and its
engines fail at a word, with an error that quotes the whole prompt as a careless library might.
"""

import faulthandler
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

logging.getLogger("numba").setLevel(logging.WARNING)  # it prints each function that it compiles, for minutes
logging.basicConfig(level=logging.DEBUG)
logging.Logger.setLevel = lambda self, level: None  # type: ignore[method-assign]  # whatever a library finds enough
sys.tracebacklimit = 50  # asyncio's debug mode reads each future's whole stack, for ever if frames form a ring


def _fail_at(word: str, texts: Sequence[str]) -> None:
    if any(word in text for text in texts):
        raise RuntimeError(f"unexpected {texts}")


def _break_generator(module: Any) -> None:
    generator = module.VllmGenerator
    render, deltas = generator._render, generator._deltas
    asked: ContextVar[Sequence[str]] = ContextVar("asked")  # each call has a task of its own

    async def _render(self: Any, messages: Any, *arguments: Any, **named: Any) -> Any:
        texts = [message.content for message in messages]
        _fail_at("breakrender", texts)
        asked.set(texts)
        return await render(self, messages, *arguments, **named)

    async def _deltas(self: Any, *arguments: Any) -> Any:
        texts = asked.get()
        async for delta in deltas(self, *arguments):
            yield delta
            _fail_at("breakstream", texts)

    generator._render, generator._deltas = _render, _deltas


def _break_classifier(module: Any) -> None:
    plain = module.VllmClassifier.classify

    async def classify(self: Any, utterances: Sequence[str], call: Any) -> Any:
        _fail_at("breakclassify", utterances)
        return await plain(self, utterances, call)

    module.VllmClassifier.classify = classify


class _Breaker(MetaPathFinder):
    """Loads the two modules as ever, then breaks them."""

    breaks = {  # noqa: RUF012
        "psychechat.engines.vllm.generator": _break_generator,
        "psychechat.engines.vllm.classifier": _break_classifier,
    }

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        break_it = self.breaks.pop(name, None)
        if break_it is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            break_it(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


faulthandler.register(signal.SIGUSR1)  # where each thread is, asked by a test whose server has stopped to answer
if "CANARY_BREAKS" in os.environ:
    sys.meta_path.insert(0, _Breaker())
