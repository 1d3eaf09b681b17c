"""The prepared run of the server, without a GPU: its models, its settings, its loads. `--rehearse` runs it whole."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pytest
from tokenizers import Tokenizer

from benchmarks.gpu.job import Job, Page
from benchmarks.gpu.serve import models, servers
from benchmarks.gpu.serve.loads import loads
from benchmarks.gpu.serve.measuring import dues, turns
from psychechat.config import Settings
from psychechat_ray.configurations import load

DEMO = files("psychechat") / "demo" / "counselor" / "tokenizer.json"


def test_shapes_are_qwen3s_by_their_number_of_weights() -> None:
    assert {name: models.parameters(models.config(name)) for name in ("0.6B", "8B")} == {
        "0.6B": 596_049_920,
        "8B": 8_190_735_360,
    }


def test_a_grown_tokenizer_cuts_texts_as_before_and_knows_as_many_tokens_as_the_model(tmp_path: Path) -> None:
    models.write(tmp_path, "tiny")
    grown = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    demo = Tokenizer.from_str(DEMO.read_text("utf-8"))
    size = models.config("tiny")["vocab_size"]
    assert grown.get_vocab_size() == size
    for text in ('I said "no" to her,\nand 今天很难过。', "<|im_start|>user\n<think>\n</think>"):
        assert grown.encode(text).ids == demo.encode(text).ids
    new = [grown.decode([token]) for token in range(demo.get_vocab_size(), size)]
    assert len(set(new)) == len(new)
    assert sum(token.endswith('"') for token in new) == pytest.approx(len(new) / models.CLOSING, abs=1)


def test_a_folder_has_what_vllm_reads(tmp_path: Path) -> None:
    models.write(tmp_path, "tiny")
    assert {file.name for file in tmp_path.iterdir()} == {
        *("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    }
    template = jinja2.Template((tmp_path / "chat_template.jinja").read_text("utf-8"), autoescape=False)
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "add_generation_prompt": True}
    asked = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert template.render(chat) == asked
    assert template.render(chat | {"enable_thinking": False}) == f"{asked}<think>\n\n</think>\n\n"


@pytest.mark.parametrize("rehearse", [False, True])
def test_our_server_is_single_gpu_but_for_what_is_told(tmp_path: Path, rehearse: bool) -> None:
    found = Settings.model_validate(servers.settings(tmp_path, 4096, rehearse=rehearse))
    shipped = load("single-gpu")
    counselor = found.engines["counselor"]
    assert counselor.model == str(tmp_path)
    assert counselor.engine_args["max_num_batched_tokens"] == 4096
    assert counselor.engine_args["load_format"] == "dummy"
    if rehearse:
        assert not counselor.replicas.num_gpus
        assert not found.classifier.replicas.num_gpus
        return
    assert counselor.replicas == shipped.engines["counselor"].replicas
    assert found.classifier == shipped.classifier
    told = set(servers.POLICY)
    assert found.policy.model_dump(exclude=told) == shipped.policy.model_dump(exclude=told)


@pytest.mark.parametrize("rehearse", [False, True])
def test_all_who_ask_at_once_are_let_in(tmp_path: Path, rehearse: bool) -> None:
    """Beyond what crises leave of the sequences they would wait, and the row would be of the queue."""
    found = Settings.model_validate(servers.settings(tmp_path, 8192, rehearse=rehearse))
    [lane] = found.casting.lanes
    let_in = found.policy.admission.ordinary(found.generations(lane))
    assert max(load.at_once for load in loads("ours", rehearse=rehearse)) <= let_in


def test_loads_share_out_what_a_server_has_left() -> None:
    chosen = loads("ours", rehearse=False)
    ends = dues(chosen, 100)
    assert ends == sorted(ends)
    assert ends[-1] == pytest.approx(100)
    assert {load.kind for load in chosen} == {"warm-up", "llm", "agent", "classify"}
    assert {load.kind for load in loads("vllm", rehearse=False)} == {"warm-up", "llm", "agent"}


def test_the_research_client_matches_the_turns_of_the_same_model(tmp_path: Path) -> None:
    row: dict[str, Any] = {"load": "agent-16", "tokens_per_turn": 700, "rounds_per_turn": 1.8}
    row |= {"stages_share_of_tokens": {"draft": 1.0}}
    before: dict[str, dict[str, Any]] = {
        "small": {"model": "0.6B", "server": "ours", "rows": [row | {"tokens_per_turn": 1}]},
        "theirs": {"model": "8B", "server": "vllm", "rows": [row | {"tokens_per_turn": 2}]},
        "cut": {"model": "8B", "server": "ours"},
        "ours": {"model": "8B", "server": "ours", "rows": [{"load": "llm-1"}, row | {"turns_s": 3.0}]},
    }
    job = Job(tmp_path, Page(tmp_path / "page.json"), 0.0, False, {}, before)
    assert turns(job, "8B") == {"agent-16": {name: value for name, value in row.items() if name != "load"}}
    assert turns(job, "tiny") == {}


def test_a_page_is_whole_at_any_moment(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.json")
    page.put(a=1)
    page.append("rows", {"b": 2})
    page.append("rows", {"b": 3})
    assert json.loads((tmp_path / "page.json").read_text()) == {"a": 1, "rows": [{"b": 2}, {"b": 3}]}
    assert [file.name for file in tmp_path.iterdir()] == ["page.json"]
