"""The circuit that training starts from: untrained, the model already continues what it has seen before."""

import torch
from torch.nn.functional import cross_entropy

from models.counselor import architecture
from models.counselor.train import load


def test_an_untrained_model_repeats_a_random_passage() -> None:
    model = architecture.initial(load(architecture.WEIGHTS)[1], seed=3)
    passage = torch.randperm(6000)[:100]
    with torch.no_grad():
        scores = model(torch.cat((passage, passage))[None]).logits[0, :-1]
    first = cross_entropy(scores[:99], passage[1:])
    again = cross_entropy(scores[100:], passage[1:])
    assert first > 8.5
    assert again < 7.0


def test_it_stays_small_enough_to_ship() -> None:
    model = architecture.initial(load(architecture.WEIGHTS)[1], seed=0)
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) < 30e6
