"""The gate with the shipped classifier: what it finds is what a server with the demo's heads would miss."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from psychechat.demo import thresholds
from psychechat.evaluation.gate.play import Scene, play_all
from psychechat.evaluation.gate.scripts import shipped
from psychechat.help import resources
from psychechat.policy import Policy
from tests.serving.evaluation.conftest import Serving
from tests.serving.evaluation.test_gate import broken

if TYPE_CHECKING:  # vLLM is imported when its engine is built, and not on collection
    from psychechat.engines.vllm.classifier import VllmClassifier

pytestmark = [
    pytest.mark.engine,
    pytest.mark.long,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning:vllm"),
]


@pytest.fixture(scope="module")
def classifier(demo_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["VllmClassifier"]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        from psychechat.engines.vllm.classifier import VllmClassifier

        built = VllmClassifier(demo_classifier)
    yield built
    built.shutdown()


async def gate(serving: Serving, classifier: "VllmClassifier", **policy: Any) -> list[str]:
    """What is broken, the must first."""
    whole = thresholds.for_heads(Policy.model_validate({"quota": {"crises_per_minute": None}} | policy), shipped=True)
    async with serving(classifier=classifier, policy=whole) as reached:
        scenes: Mapping[str, Scene] = await play_all(reached, shipped(), 1, lambda script, scene: None)
    return [str(one) for one in broken(scenes)]


async def test_it_passes(serving: Serving, classifier: "VllmClassifier") -> None:
    assert await gate(serving, classifier) == []


async def test_a_raised_threshold(serving: Serving, classifier: "VllmClassifier") -> None:
    found = await gate(serving, classifier, risk={"ideation": 1.0, "behavior": 1.0, "attempt": 1.0})
    assert any(line.startswith("found") for line in found)


async def test_a_lowered_one(serving: Serving, classifier: "VllmClassifier") -> None:
    found = await gate(serving, classifier, risk={"ideation": 0.001})
    assert any(line.startswith("calm") for line in found)


async def test_resources_that_are_removed(serving: Serving, classifier: "VllmClassifier") -> None:
    few = {"intl": [row.model_dump(mode="json", exclude_none=True) for row in resources.shipped()["intl"]]}
    found = await gate(serving, classifier, crisis={"resources": few})
    assert any(line.startswith("resources") for line in found)


async def test_a_hold_that_is_off(serving: Serving, classifier: "VllmClassifier") -> None:
    found = await gate(serving, classifier, risk={"conversation": "off"})
    assert any(line.startswith("held") for line in found)
