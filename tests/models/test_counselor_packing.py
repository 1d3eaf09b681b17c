"""A packed row must say exactly what its prompts say one by one: the tree is an economy, not another model."""

import itertools
from functools import cache

import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen3ForCausalLM
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import architecture, bf16_products, packing
from models.counselor.bank_turns import Bank
from models.counselor.examples import END, Encoder, Example, Renderer, stream
from models.counselor.train import load
from psychechat.conversation import Conversation, StageInputs, Utterance
from psychechat.engines.base import StageName


@cache
def shipped() -> tuple[Qwen3ForCausalLM, TokenizersBackend]:
    return load(architecture.WEIGHTS)


def some_examples(count: int) -> list[Example]:
    told = stream(Renderer(shipped()[1]), 5, Bank.unlabelled("train"))
    return [example for examples in itertools.islice(told, count) for example in examples]


def test_packed_logits_are_those_of_each_prompt_alone() -> None:
    model, tokenizer = shipped()
    encode, examples = Encoder(tokenizer), some_examples(2)
    row = packing.pack(examples, encode)
    with torch.no_grad():
        model.set_attn_implementation("sdpa")
        alone = []
        for example in examples:
            prompt = [token for chunk in example.chunks for token in encode(chunk)]
            answer = [*encode(example.answer), *encode(END)]
            scores = model(torch.tensor([prompt + answer])).logits[0]
            alone.append(scores[len(prompt) - 1 : -1])
        model.set_attn_implementation(packing.NAME)
        packed = packing.logits(model, row)
    torch.testing.assert_close(packed, torch.cat(alone), atol=2e-3, rtol=1e-3)


def test_the_tree_is_the_dense_mask() -> None:
    model, tokenizer = shipped()
    row = packing.pack(some_examples(2), Encoder(tokenizer))
    with torch.no_grad():
        model.set_attn_implementation("sdpa")
        hidden = model.model(
            input_ids=torch.tensor([row.ids]), position_ids=torch.tensor([row.positions]), attention_mask=row.mask()
        ).last_hidden_state[0]
        dense = model.lm_head(hidden[torch.tensor(row.sources)])
        model.set_attn_implementation(packing.NAME)
        torch.testing.assert_close(packing.logits(model, row), dense, atol=2e-3, rtol=1e-3)


def test_bf16_products_have_the_same_gradients_up_to_rounding() -> None:
    model = architecture.initial(shipped()[1], seed=0)
    row = packing.pack(some_examples(1), Encoder(shipped()[1]))

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        torch.autograd.backward(cross_entropy(packing.logits(model, row), torch.tensor(row.targets)))
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    model.set_attn_implementation(packing.NAME)
    exact = gradients()
    bf16_products.use(model)
    for full, half in zip(exact, gradients(), strict=True):
        assert (full - half).norm() < 0.08 * full.norm()


def test_what_is_packed_is_what_the_server_renders() -> None:
    tokenizer = shipped()[1]
    render, encode = Renderer(tokenizer), Encoder(tokenizer)
    brief = StageInputs(Conversation((Utterance("seeker", "I passed my exam!"),)))
    for stage in (StageName.EMOTION, StageName.REPLY):
        prompt = render.prompt("en", stage, brief)
        example = render.example("en", stage, brief, "")
        assert "".join(example.chunks) == prompt
        whole = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert [token for chunk in example.chunks for token in encode(chunk)] == whole
