"""The ingress deployment: the API and the pipeline, with engines that are elsewhere."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from psychechat.api.app import create_app
from psychechat.config import Policy, Settings
from psychechat.memory.local import LocalMemory
from psychechat.pipeline import packs
from psychechat.pipeline.turn import Pipeline
from psychechat.telemetry import Metrics
from psychechat_ray.remote import RemoteClassifier, RemoteGenerator

Handle = DeploymentHandle[Any]


@serve.ingress()
class Ingress:
    def __init__(self, settings: Settings, classifier: Handle, counselor: Handle, seeker: Handle | None) -> None:
        self._engines: dict[str, RemoteClassifier | RemoteGenerator] = {
            "classifier": RemoteClassifier(classifier),
            "counselor": RemoteGenerator(counselor),
        }
        if seeker is not None:
            self._engines["seeker"] = RemoteGenerator(seeker)
        self._pipeline = Pipeline(
            classifier=RemoteClassifier(classifier),
            counselor=RemoteGenerator(counselor),
            seeker=RemoteGenerator(seeker or counselor),
            packs={language: packs.load(pack) for language, pack in settings.packs.items()},
            memory=LocalMemory(settings.memory),
            metrics=Metrics(),
            policy=settings.policy,
            default_language=settings.default_language,
        )

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Swap the policy. Serve calls this at the start and on every change of `user_config`, without a restart."""
        self._pipeline.policy = Policy.model_validate(user_config)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._pipeline, ready=self._ready)

    async def _ready(self) -> Mapping[str, bool]:
        up = await asyncio.gather(*(engine.is_up() for engine in self._engines.values()))
        return dict(zip(self._engines, up, strict=True))
