"""The version of the weights, a third of `system_fingerprint`."""

from typing import Any

import pytest

from psychechat.config import Settings
from psychechat_ray.models import has_shipped_heads, weights_version


def version(**changes: Any) -> str:
    return weights_version(Settings.model_validate(changes))


def test_a_version_is_stable_and_follows_every_model() -> None:
    assert version() == version() == version(port=9000)
    others = [
        version(counselor={"model": "someone/counselor"}),
        version(counselor={"model": "someone/counselor", "revision": "v2"}),
        version(classifier={"model": "someone/classifier"}),
        version(seeker={"model": "someone/seeker"}),
        version(counselor={"engine": "scripted"}),
    ]
    assert len({version(), *others}) == 6


@pytest.mark.parametrize(
    ("classifier", "shipped"),
    [({}, True), ({"model": "someone/classifier"}, False), ({"engine": "scripted"}, False)],
)
def test_only_the_demos_heads_are_the_shipped_ones(classifier: dict[str, Any], shipped: bool) -> None:
    assert has_shipped_heads(Settings.model_validate({"classifier": classifier}).classifier) is shipped
