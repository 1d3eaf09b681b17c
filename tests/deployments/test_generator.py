"""What a replica sends is bounded, however many streams it has, and one stream alone does not wait."""

import pytest

from psychechat_ray.generator import pause


@pytest.mark.parametrize("streams", [1, 16, 64])
def test_a_replica_sends_a_thousand_messages_a_second(streams: int) -> None:
    assert streams / pause(streams, 1.0) == pytest.approx(1000)


def test_text_flows_however_many_streams_there_are() -> None:
    assert pause(5000, 0.05) == 0.05
