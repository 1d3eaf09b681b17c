"""What an ingress knows of its engines' replicas."""

from psychechat_ray.replica_counts import RUNNING, SEQUENCES, record


def test_the_replica_that_takes_least_counts_and_is_remembered_while_none_runs() -> None:
    record("counted", 3)
    assert RUNNING["counted"] == 3
    assert "counted" not in SEQUENCES, "none has told"
    record("counted", 3, [40, 12, 30])
    assert SEQUENCES["counted"] == 12
    record("counted", 0)
    assert (RUNNING["counted"], SEQUENCES["counted"]) == (0, 12)
    record("counted", 1, [40])
    assert SEQUENCES["counted"] == 40
