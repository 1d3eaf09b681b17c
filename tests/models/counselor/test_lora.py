"""What is trained of SmolLM2 is what its folder computes once it is merged."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, LlamaForCausalLM

from models.counselor import lora
from psychechat.demo import smollm2

TEXT = "<|im_start|>user\nI can't sleep.<|im_end|>\n<|im_start|>assistant\n<think>\nworried\n</think>\n\nSince when?"


@pytest.fixture(scope="module")
def bare(smollm2_bare: Path) -> Path:
    return smollm2_bare


def loaded(folder: Path) -> LlamaForCausalLM:
    """In float32: what the weights have been rounded to, and nothing else."""
    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.train(False)
    return model


def adapted(bare: Path, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return lora.adapt(loaded(bare))


def randomised(model: LlamaForCausalLM) -> LlamaForCausalLM:
    with torch.no_grad():
        for name, parameter in lora.trained(model).items():
            if name.endswith(".up") or name == smollm2.ROWS:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def tokens(bare: Path) -> Tensor:
    ids = AutoTokenizer.from_pretrained(bare).encode(TEXT)
    assert set(smollm2.THINK_IDS) < set(ids)
    return torch.tensor([ids])


def scores(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = model(ids).logits
    return logits[0]


def far(one: Tensor, other: Tensor) -> float:
    """Relative distance of two models' scores."""
    return float((one - other).norm() / one.norm())


def test_merged_it_gives_what_it_gave_in_training(bare: Path, tmp_path: Path) -> None:
    """bfloat16 weights keep 8 bits: through 30 layers, a hundredth of what the adapter changed."""
    ids, file = tokens(bare), tmp_path / "adapter.safetensors"
    untouched = scores(loaded(bare), ids)
    model = adapted(bare, seed=1)
    assert far(untouched, scores(model, ids)) < 1e-5  # it begins as it was
    lora.save(randomised(model), file)
    there = scores(model, ids)
    merged = loaded(smollm2.prepare(tmp_path / "cache", adapter=file))
    assert far(there, untouched) > 0.1
    assert far(there, scores(merged, ids)) < 0.01
    # Their columns alone, which would be lost among 49,152.
    think = list(smollm2.THINK_IDS)
    assert far(there[:, think], untouched[:, think]) > 0.1
    assert far(there[:, think], scores(merged, ids)[:, think]) < 0.01


def test_what_is_loaded_is_what_was_saved(bare: Path, tmp_path: Path) -> None:
    ids, file = tokens(bare), tmp_path / "adapter.safetensors"
    model = randomised(adapted(bare, seed=1))
    lora.save(model, file)
    other = adapted(bare, seed=2)
    lora.load(other, file)
    assert far(scores(model, ids), scores(other, ids)) < 1e-3  # fp16


def test_a_step_moves_the_adapter_and_nothing_else(bare: Path) -> None:
    ids = tokens(bare)
    model = randomised(adapted(bare, seed=1))
    adapter = lora.trained(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    loss = model(ids, labels=ids).loss
    torch.autograd.backward(loss)
    learning = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert learning == {id(parameter) for parameter in adapter.values()}
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in adapter.values())
    torch.optim.SGD(adapter.values(), lr=0.1).step()
    frozen = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert len(frozen) == len(before) - len(adapter)
    assert model(ids, labels=ids).loss < loss


def test_rows_learn_as_a_source_and_as_a_target() -> None:
    """Against the plain tied embedding: the same scores and, for its rows, the same gradient."""
    torch.manual_seed(0)
    plain = torch.nn.Embedding(50, 6)
    embedding = lora.Embedding(plain, (3, 7))
    ids, targets = torch.tensor([[1, 3, 7, 3]]), torch.tensor([3, 7, 2, 49])
    learned = lora.Head(embedding)(embedding(ids).cumsum(1))[0]
    torch.autograd.backward(cross_entropy(learned, targets))
    plain.weight.requires_grad_(True)
    tied = (plain(ids).cumsum(1) @ plain.weight.T)[0]
    torch.autograd.backward(cross_entropy(tied, targets))
    torch.testing.assert_close(learned, tied)
    assert embedding.rows.grad is not None
    assert plain.weight.grad is not None
    torch.testing.assert_close(embedding.rows.grad, plain.weight.grad[[3, 7]])


def test_another_adapter_is_refused(bare: Path, tmp_path: Path) -> None:
    file = tmp_path / "adapter.safetensors"
    model = adapted(bare, seed=1)
    lora.save(model, file)
    tensors = load_file(file)
    save_file(tensors, file)
    with pytest.raises(ValueError, match="no adapter of format 1"):
        lora.load(model, file)
    lora.save(lora.adapt(loaded(bare), rank=4), file)
    with pytest.raises(ValueError, match="another rank"):
        lora.load(model, file)
    with torch.no_grad():
        lora.trained(model)[smollm2.ROWS][0, 0] = 1e5
    with pytest.raises(ValueError, match="fp16"):
        lora.save(model, file)
