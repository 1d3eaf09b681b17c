"""What is fitted and chosen on dev texts, on made-up vectors whose first coordinates are the logits."""

from dataclasses import replace

import torch

from models.calibration import calibrated, halves
from models.data import GROUPS, MASKED, Example
from models.heads import EMOTION_COLUMNS, Heads
from models.readings import Vectors
from models.scores import calibration_error
from psychechat.engines.vllm.windows import WIDTHS

COUNT = 4000
PLAIN = Heads(torch.eye(sum(WIDTHS)), torch.zeros(sum(WIDTHS)))


def drawn(logits: torch.Tensor) -> list[Example]:
    """Texts whose joy and whose risk are as likely as these logits say."""
    generator = torch.Generator().manual_seed(2)
    joy = torch.multinomial(logits[:, :4].softmax(1), 1, generator=generator)
    risk = torch.multinomial(logits[:, EMOTION_COLUMNS:].softmax(1), 1, generator=generator)
    unknown = (MASKED,) * (len(GROUPS) - 1)
    return [
        Example(str(i), "made up", "dev", (int(joy[i]), *unknown), int(risk[i])) for i in range(len(logits))
    ]  # fmt: skip


def test_overconfidence_and_a_shift_are_undone() -> None:
    logits = torch.randn(COUNT, sum(WIDTHS), generator=torch.Generator().manual_seed(1)) * 1.5
    examples = drawn(logits)
    there = torch.tensor([example.emotion[0] > 0 for example in examples])
    distorted = logits * 3
    distorted[:, 0] -= 4  # joy is called far too often
    errors = []
    for heads in (PLAIN, calibrated(PLAIN, Vectors.plain(distorted), examples)):
        emotion, risk, _ = heads.logits(distorted)
        assert torch.equal(risk.argmax(1), distorted[:, EMOTION_COLUMNS:].argmax(1))
        best = risk.softmax(1).max(1)
        right = torch.tensor([example.risk for example in examples]) == best.indices
        presence = 1 - emotion.softmax(-1)[:, 0, 0]
        errors.append((calibration_error(presence, there), calibration_error(best.values, right)))
    assert min(errors[0]) > 0.1
    assert max(errors[1]) < 0.03


def test_a_large_set_does_not_drown_a_small_one() -> None:
    """Nine in ten of the large set show joy and one in ten of the small one: the answer lies well between."""
    vectors = torch.zeros(1010, sum(WIDTHS))
    examples = [Example(str(i), "large", "dev", (int(i % 10 > 0), *(MASKED,) * 7), 0) for i in range(1000)]
    examples += [Example(f"s{i}", "small", "dev", (int(i == 0), *(MASKED,) * 7), 0) for i in range(10)]
    presence = 1 - calibrated(PLAIN, Vectors.plain(vectors), examples).logits(vectors)[0].softmax(-1)[0, 0, 0]
    pooled = 901 / 1010
    assert 0.5 < presence < pooled - 0.03


def test_halves_part_no_variants() -> None:
    examples = [Example(f"{opener} {i}", "own/en", "dev", core=str(i)) for i in range(60) for opener in ("so", "well")]
    first, second = halves(examples, seed=0)
    assert sorted(first + second) == list(range(120))
    assert min(len(first), len(second)) > 30
    assert not {examples[i].core for i in first} & {examples[i].core for i in second}
    assert halves(examples, seed=1)[0] != first
    alone = [replace(example, core="") for example in examples]
    assert {i % 2 for i in halves(alone, seed=0)[0]} == {0, 1}
