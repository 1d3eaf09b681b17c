"""What the demo classifier finds in messages, for the stages that are told it. As in the server, without its engine."""

from collections.abc import Sequence

from models.counselor import architecture
from models.data import GROUPS
from models.embeddings import MAX_LEN, backbone, vectors_of
from models.predictions import load_heads
from psychechat.demo.encoder import prepare
from psychechat.emotion import Label, decode
from psychechat.engines.vllm.windows import Windows
from psychechat.policy import Policy


def labels_of(texts: Sequence[str]) -> list[tuple[Label, ...]]:
    """The labels above the policy's threshold in each text's first window, the surest first."""
    folder = prepare(architecture.RUNS / "encoder")
    windows = Windows.of(folder, MAX_LEN)
    vectors = vectors_of(backbone(folder), [windows.cut(text)[0] for text in texts], "mean")
    emotion = load_heads(folder / "model.safetensors").logits(vectors)[0].softmax(-1)
    found = [
        decode(dict(zip(GROUPS, columns, strict=True)), Policy().emotion_thresholds.by_group)
        for columns in emotion.tolist()
    ]
    return [tuple(emotion.label for emotion in emotions) for emotions in found]
