"""Assembly of the server as a Serve application.

    HAProxy → Ingress (API, pipeline, memory) → Classifier
                                              → Generator, one deployment for each engine

Run it with `psychechat serve`, or `serve run psychechat_ray.app:build config=demo-cpu`.
"""

from collections.abc import Iterator
from typing import Any

from ray.serve import Application

from psychechat import prompts
from psychechat.config import GeneratorSettings, Settings
from psychechat.conversation import Conversation, StageInputs, Utterance
from psychechat.engines.base import Stage, StageName
from psychechat.prompts import Pack
from psychechat_ray.autoscaling import by_fullness
from psychechat_ray.classifier import Classifier
from psychechat_ray.configurations import load
from psychechat_ray.generator import Generator, LeastPrompt
from psychechat_ray.ingress import Ingress
from psychechat_ray.replicas import PATIENT, Starts, deployment
from psychechat_ray.routing import BY_SESSION


def build(args: dict[str, Any]) -> Application:
    """Serve's application builder. `args` are our settings, or `{"config": name or path}`.

    Raises FileNotFoundError for an unknown configuration and pydantic.ValidationError for a wrong one.
    """
    settings = load(args["config"]) if "config" in args else Settings.model_validate(args)
    return assemble(settings)


def assemble(settings: Settings, version: str | None = None, starts: Starts = PATIENT) -> Application:
    """`version`, `starts`: as `deployment` has them, of every deployment."""
    common: dict[str, Any] = {
        "drain_seconds": settings.policy.limits.turn_seconds,
        "version": version,
        "starts": starts,
    }
    classifier = deployment(
        Classifier, "classifier", settings.classifier.replicas, request_router_config=BY_SESSION, **common
    ).bind(settings.classifier, settings.cache, starts.pause_seconds)

    def generator(name: str, engine: GeneratorSettings) -> Application:
        return deployment(
            *(Generator, name, engine.replicas),
            policy=by_fullness(engine),
            request_router_config=BY_SESSION,
            **common,
        ).bind(
            *(engine, list(_stages(settings, name)), settings.cache, list(_least_prompts(settings, name))),
            starts.pause_seconds,
        )

    engines = {name: generator(name, engine) for name, engine in settings.engines.items()}
    return deployment(
        Ingress,
        "ingress",
        settings.ingress,
        # Whatever else changes restarts replicas; this does not.
        user_config=settings.policy.model_dump(mode="json"),
        **common,
    ).bind(settings, classifier, engines)


def _stages(settings: Settings, engine: str) -> Iterator[Stage]:
    """The engine's stages that have a grammar, of each language that it has them in, with the reply's usual and doubled
    bound.
    """
    for _, pack, names in _packs(settings, engine):
        for name in names:
            is_each_turns_own = name is StageName.DRAFT and pack.language in settings.reply_banks
            if pack.stage(name).schema is not None and not is_each_turns_own:
                yield from pack.stages(name)


def _least_prompts(settings: Settings, engine: str) -> Iterator[LeastPrompt]:
    """The least that the engine's context must hold: of each pack its prompts of a conversation that has just begun."""
    inputs = StageInputs(Conversation((Utterance("seeker", "."),)))
    for folder, pack, names in _packs(settings, engine):
        rounds = settings.policy.limits.rounds or pack.file.rounds
        yield LeastPrompt(folder, pack.longest(inputs, names), pack.reserve(rounds, names))


def _packs(settings: Settings, engine: str) -> Iterator[tuple[str, Pack, list[StageName]]]:
    """Each pack with those of its stages that the engine answers, if there are any."""
    for language, folder in settings.packs.items():
        pack = prompts.load(folder)
        names = [name for name in StageName if settings.casting.part(pack.role(name), language).engine == engine]
        if names:
            yield folder, pack, names
