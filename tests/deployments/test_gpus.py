"""A start without enough GPUs ends with both numbers, and waits as long as Ray may still find some."""

from pathlib import Path

import pytest

from psychechat.config import Autoscaling, Replicas
from psychechat_ray.gpus import STABLE_SECONDS, TooFewGpus, Watch, check, needed, on_this_machine

SHARED = {"ingress": Replicas(), "classifier": Replicas(num_gpus=0.1), "counselor": Replicas(num_gpus=0.9)}


class Machine:
    """What Ray has found, and what time it is."""

    def __init__(self, found: float = 0.0) -> None:
        self.found, self.now, self.asked = found, 1_000.0, 0

    def present(self) -> float:
        self.asked += 1
        return self.found

    def clock(self) -> float:
        return self.now


def watch(machine: Machine, parts: dict[str, Replicas]) -> Watch:
    return Watch(parts, machine.present, machine.clock)


@pytest.mark.parametrize(
    ("asked", "gpus"),
    [
        ([], 0),
        ([0.0, 0.0], 0),
        ([0.1, 0.9], 1),
        ([0.7, 0.2, 0.1], 1),  # which adds up to more than 1, as Python's numbers do
        ([0.6, 0.6, 0.6], 3),
        ([0.3, 0.9, 0.3, 0.3], 2),
        ([1.0, 1.0, 0.9, 0.1], 3),
        ([2.0, 0.5], 3),
    ],
)
def test_shares_of_gpus_find_room_as_ray_would_place_them(asked: list[float], gpus: int) -> None:
    assert needed(asked) == gpus
    assert needed(reversed(asked)) == gpus


def test_without_gpus_the_start_waits_ten_seconds_and_then_ends_with_both_numbers() -> None:
    machine = Machine()
    looking = watch(machine, SHARED)
    for _ in range(10):
        missing = looking.missing()
        assert missing is not None
        assert missing == "GPUs: 1 needed (classifier: 1 × 0.1, counselor: 1 × 0.9), 0 found."
        machine.now += STABLE_SECONDS / 10
    with pytest.raises(TooFewGpus, match=r"1 needed .*, 0 found\..*--gpus all"):
        looking.missing()


def test_one_that_is_found_late_is_enough_and_nobody_asks_again() -> None:
    machine = Machine()
    looking = watch(machine, SHARED)
    assert looking.missing()
    machine.now += STABLE_SECONDS - 0.1
    machine.found = 1.0
    assert looking.missing() is None
    asked = machine.asked
    machine.now += 60
    assert looking.missing() is None
    assert machine.asked == asked


def test_as_long_as_more_are_found_the_start_waits() -> None:
    machine = Machine()
    looking = watch(machine, {"counselor": Replicas(num_replicas=4, num_gpus=1)})
    for machine.found in (0.0, 1.0, 2.0, 3.0):
        for _ in range(2):
            machine.now += 0.6 * STABLE_SECONDS
            assert f"{machine.found:g} found." in str(looking.missing())
    machine.now += 0.6 * STABLE_SECONDS
    with pytest.raises(TooFewGpus, match=r"4 needed .*, 3 found"):
        looking.missing()


def test_what_scales_needs_its_least() -> None:
    scaling = Replicas(num_gpus=1, autoscaling=Autoscaling(min_replicas=1, max_replicas=4))
    assert watch(Machine(1.0), {"counselor": scaling}).missing() is None


def test_who_needs_none_asks_nobody() -> None:
    machine = Machine()
    assert watch(machine, {"ingress": Replicas(), "counselor": Replicas()}).missing() is None
    assert machine.asked == 0


def test_a_machine_with_too_few_is_told_of_before_there_is_a_ray() -> None:
    check(SHARED, lambda: 1)
    check({"ingress": Replicas()}, lambda: pytest.fail("nobody needs one"))
    with pytest.raises(TooFewGpus, match=r"GPUs: 1 needed \(classifier: 1 × 0.1, .*, 0 found\..*--gpus all"):
        check(SHARED, lambda: 0)


def test_a_machines_gpus_are_its_device_files_or_what_nvidias_program_lists(tmp_path: Path) -> None:
    for name in ("nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (tmp_path / name).touch()
    smi = tmp_path / "nvidia-smi"
    assert on_this_machine(tmp_path, str(smi)) == 0
    smi.write_text(
        "#!/bin/sh\n[ $1 = -L ] && printf 'GPU 0: H100 (UUID: a)\\n  MIG 1g.10gb Device 0\\nGPU 1: H100\\n'\n"
    )
    smi.chmod(0o755)
    assert on_this_machine(tmp_path, str(smi)) == 2
    for number in range(3):
        (tmp_path / f"nvidia{number}").touch()
    assert on_this_machine(tmp_path, str(smi)) == 3
