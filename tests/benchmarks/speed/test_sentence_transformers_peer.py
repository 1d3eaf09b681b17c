"""The peer's heads, written by hand, say what ours say of the same embeddings."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from benchmarks.speed.sentence_transformers_peer import heads, timed
from psychechat_kernels.fused_heads.reference import fused_heads


def test_the_heads_are_ours(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    groups = [4, 4, 5]
    weight = chance.normal(size=(sum(groups), 8)).astype(np.float32)
    bias = chance.normal(size=sum(groups)).astype(np.float32)
    save_file({"heads.weight": weight, "heads.bias": bias}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"psychechat": {"groups": groups}}))
    embeddings = (20 * chance.normal(size=(5, 8))).astype(np.float32)  # steep: a plain exp would overflow
    each = torch.arange(5)
    ours = torch.full((5, sum(groups)), torch.nan)
    fused_heads(
        torch.from_numpy(embeddings), each, each, torch.from_numpy(weight), torch.from_numpy(bias), groups, "mean", ours
    )
    np.testing.assert_allclose(heads(tmp_path)(embeddings), ours, atol=1e-5)


def test_each_call_is_timed_with_its_own_texts() -> None:
    asked = []

    def classify(texts: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        asked.append(texts)
        return np.zeros(0, np.float32)

    told = timed(classify, [["a"], ["b", "c"]])
    assert asked == [["a"], ["b", "c"]]
    assert len(told["seconds"]) == 2
