"""sentence-transformers with the demo encoder and our heads: `python -m benchmarks.speed.sentence_transformers_peer`.

There is no server to it: it is handed texts, in JSON on stdin, and times itself. What comes in are jobs, each a list of
calls, each a list of texts that are encoded together. What goes out is, for each job, the seconds of each call and the
CPU seconds of all. Weights, prefix, pooling, length and precision are our classifier's. The heads are written by hand
here, as whoever has an encoder from this package and two linear layers would write them.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from benchmarks.speed.peers import ENCODER_PREFIX
from psychechat.demo import encoder

BATCH = 64
LENGTH = 512
WARM_UP = 8

Rows = NDArray[np.float32]


def heads(folder: Path) -> Callable[[Rows], Rows]:
    """From embeddings to probabilities: a softmax for each emotion group, and one for risk."""
    tensors = load_file(folder / "model.safetensors")
    weight, bias = tensors["heads.weight"], tensors["heads.bias"]
    groups: list[int] = json.loads((folder / "config.json").read_text())["psychechat"]["groups"]
    cuts = np.cumsum(groups)[:-1]

    def probabilities(embeddings: Rows) -> Rows:
        logits = np.split(embeddings @ weight.T + bias, cuts, axis=1)
        powers = [np.exp(group - group.max(axis=1, keepdims=True)) for group in logits]
        return np.concatenate([group / group.sum(axis=1, keepdims=True) for group in powers], axis=1)

    return probabilities


def classifier(folder: Path) -> Callable[[Sequence[str]], Rows]:
    """Texts to probabilities. The package sorts them by length and makes batches of them."""
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]

    # Of a folder that is none of its own the package makes the encoder with mean pooling, as our heads were trained.
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    model.max_seq_length = LENGTH
    judge = heads(folder)

    def classify(texts: Sequence[str]) -> Rows:
        embeddings = model.encode(list(texts), prompt=ENCODER_PREFIX, batch_size=BATCH, show_progress_bar=False)
        return judge(embeddings)

    return classify


def timed(classify: Callable[[Sequence[str]], Rows], calls: Sequence[Sequence[str]]) -> dict[str, Any]:
    seconds, cpu = [], time.process_time()
    for texts in calls:
        started = time.perf_counter()
        classify(texts)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}


def main() -> None:
    torch.set_num_threads(1)
    jobs: list[list[list[str]]] = json.load(sys.stdin)
    classify = classifier(encoder.prepare(Path("~/.cache/psychechat").expanduser()))
    classify(jobs[0][0][:WARM_UP])
    print(json.dumps([timed(classify, calls) for calls in jobs]))


if __name__ == "__main__":
    main()
