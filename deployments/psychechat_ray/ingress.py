"""Ingress deployment: the API and the pipeline; engines are called by handle."""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from datetime import date
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from psychechat import prompts
from psychechat.api.app import create_app
from psychechat.config import Casting, Settings
from psychechat.demo import thresholds
from psychechat.emotion import Language
from psychechat.engines.cast import Cast
from psychechat.help import languages, resources
from psychechat.memory.backends import change_keys, open_memory
from psychechat.memory.base import Keys
from psychechat.pipeline.services import Pipeline
from psychechat.prompts import weights
from psychechat.safety import phrases
from psychechat.safety.replies import broken_text, contacts, crisis_reply
from psychechat.safety.webhook import WebhookEscalations
from psychechat.telemetry import ConfigPart, Metrics
from psychechat_ray import live_config
from psychechat_ray.last_policy import LastPolicy
from psychechat_ray.live_config import ConfigRefused, LiveConfig
from psychechat_ray.metrics import RayMetricsExporter
from psychechat_ray.models import has_shipped_heads, weights_version
from psychechat_ray.periodic import Periodic
from psychechat_ray.remote import RemoteClassifier, RemoteGenerator
from psychechat_ray.replica_counts import RUNNING, SEQUENCES, Peers
from psychechat_ray.replicas import freeze_heap, start_telemetry

logger = logging.getLogger(__name__)

Handle = DeploymentHandle[Any]

LAST_SECONDS = 5.0
"""Timeout for escalations still pending when the replica stops, within what Serve allows for all of shutdown."""
_REFUSED = "The newest change of the configuration is refused, the old one is served: %s"


@serve.ingress()
class Ingress:
    def __init__(self, settings: Settings, classifier: Handle, engines: Mapping[str, Handle]) -> None:
        remote_classifier = RemoteClassifier(classifier)
        generators = {name: RemoteGenerator(handle) for name, handle in engines.items()}
        self._engines: dict[str, RemoteClassifier | RemoteGenerator] = {"classifier": remote_classifier, **generators}
        self._settings = settings
        tracer, metrics = start_telemetry(), Metrics()
        here = serve.get_replica_context()
        self._last_policy = LastPolicy(here.app_name, here.deployment)
        self._taken: object = None
        """`user_config`, if it was taken."""
        self._started = False
        """Whether Serve has taken this replica for whole, with the policy that it then had."""
        self._config_refused: tuple[ConfigPart, ...] = ()
        self._live, refused = self._first(settings.policy)
        self._exporter = RayMetricsExporter(metrics.registry, here.replica_id.unique_id)
        self._peers = Peers(here.app_name, here.deployment) if settings.ingress.autoscaling else None
        self._escalations = (
            WebhookEscalations(settings.escalation, metrics, drills=lambda: self._live.drills)
            if settings.escalation.is_on
            else None
        )
        memory, keys = open_memory(settings.memory)
        packs = prompts.load_all(settings.packs, settings.reply_banks)
        self._pipeline = Pipeline(
            classifier=remote_classifier,
            casts=_casts(settings.casting, engines),
            packs=packs,
            memory=memory,
            metrics=metrics,
            policy=self._live.policy,
            default_language=settings.default_language or prompts.default_language(packs),
            max_sequences=lambda lane: settings.generations(lane, RUNNING, SEQUENCES),
            memory_keys=keys,
            episode_keys=Keys(self._escalations.episode_key if self._escalations else secrets.token_bytes(32)),
            escalations=self._escalations,
            tracer=tracer,
            weights=weights_version(settings),
        )
        self._tell_refused(refused)
        for load in (phrases.warm, languages.warm, contacts.warm, crisis_reply.warm, broken_text.warm):
            load()  # seconds in all, which no message should wait for
        if told := weights.notice(packs, settings.casting):
            logger.warning(told)
        if told := resources.notice(settings.policy.crisis.resources, date.today()):
            logger.warning(told)
        if told := thresholds.notice(settings.policy, shipped=has_shipped_heads(settings.classifier)):
            logger.warning(told)
        freeze_heap()

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Swap the policy and the keys, those of clients and those of the memory, all at once. If any is wrong, the old
        ones stay.

        Serve calls this at the start and on every change of `user_config`, without a restart. What it raises ends the
        replica, and the next one, so only a start does that has nothing to go on with.
        """
        refused: tuple[ConfigPart, ...] = ()
        if not self._started:
            live, refused = self._first(user_config)
        else:
            try:
                live = live_config.read(user_config, self._settings)
            except ConfigRefused as error:
                logger.error(_REFUSED, error)
                self._tell_refused(error.parts)
                return
        change_keys(self._pipeline.memory, live.memory_keys)
        self._pipeline.policy, self._live = live.policy, live
        if not refused:
            self._taken = user_config
        self._tell_refused(refused)

    def check_health(self) -> None:
        """Serve asks now and then, for the first time after the first `reconfigure`."""
        self._started = True
        if self._taken is not None:
            self._last_policy.keep(self._taken)

    def _first(self, policy: object) -> tuple[LiveConfig, tuple[ConfigPart, ...]]:
        """What a start begins with, and what was refused of it: where the policy alone is wrong, it is the one that was
        served last. Raises ConfigRefused where there was none, and where keys are wrong: those are kept nowhere else.
        """
        try:
            return live_config.read(policy, self._settings), ()
        except ConfigRefused as error:
            last = self._last_policy.kept() if error.parts == ("policy",) else None
            if last is None:
                raise
            try:
                live = live_config.read(last, self._settings)
            except ConfigRefused:
                raise error from None
            logger.error(_REFUSED, error)
            return live, error.parts

    def _tell_refused(self, parts: tuple[ConfigPart, ...]) -> None:
        self._config_refused = parts
        self._pipeline.metrics.tell_refused_config(parts)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(
            self._pipeline,
            ready=self._ready,
            keyring=lambda: self._live.keyring,
            config_refused=lambda: self._config_refused,
            open_metrics=not self._settings.auth.metrics,
            origins=self._settings.cors.origins,
            ui=self._settings.ui,
        )

    async def __del__(self) -> None:
        """Awaited by Serve once no turn is running."""
        threads: list[Periodic | None] = [getattr(self, name, None) for name in ("_exporter", "_peers")]
        for thread in threads:
            if thread is not None:  # __init__ may have failed
                thread.close()
        escalations: WebhookEscalations | None = getattr(self, "_escalations", None)
        if escalations is not None:
            await escalations.close(LAST_SECONDS)

    async def _ready(self) -> Mapping[str, bool | tuple[str, ...]]:
        told = await asyncio.gather(*(engine.readiness() for engine in self._engines.values()))
        return dict(zip(self._engines, told, strict=True))


def _casts(casting: Casting, engines: Mapping[str, Handle]) -> dict[Language, Cast]:
    """Each language's generators. One that plays several roles is one object."""
    generators = {part: RemoteGenerator(engines[part.engine], part.adapter) for part in casting.played}
    return {
        language: Cast({role: generators[part] for role, part in parts.items()}, casting.lane(language))
        for language, parts in casting.parts.items()
    }
