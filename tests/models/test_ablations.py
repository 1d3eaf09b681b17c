"""The parts of the trials that decide what is compared: the student's layers."""

from pathlib import Path

import torch
from transformers import BertModel

from models.ablations import student
from tests.models import tiny


def test_a_student_is_the_encoder_with_the_other_layers_left_out(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    encoder = tiny.bert(tmp_path / "encoder")
    ids = torch.tensor([[0, 3, 5, 9, 1]])
    whole = BertModel.from_pretrained(encoder, add_pooling_layer=False).train(False)
    some = BertModel.from_pretrained(student(encoder, (0, 2)), add_pooling_layer=False).train(False)
    assert not torch.allclose(some(ids).last_hidden_state, whole(ids).last_hidden_state)
    whole.encoder.layer = torch.nn.ModuleList([whole.encoder.layer[0], whole.encoder.layer[2]])
    assert torch.allclose(some(ids).last_hidden_state, whole(ids).last_hidden_state)
