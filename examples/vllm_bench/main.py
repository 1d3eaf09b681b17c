"""vLLM's bench: 20 chats, at most 4 at once, of the sentences in seekers.json. The demo's tokenizer counts.

Not `--dataset-name random`: its tokens may hold words of a crisis, which take the long way, and where they are single
bytes by the dozen the prompt is refused as broken.

pip install -r requirements.txt     # or vllm itself, where `vllm bench serve` takes the same options
python main.py                      # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL; writes vllm-bench.json
"""

import os
from pathlib import Path

from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser

SERVER = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1").removesuffix("/v1")
HERE = Path(__file__).parent
OPTIONS = f"""
    --backend openai-chat --endpoint /v1/chat/completions --base-url {SERVER} --model psychechat
    --tokenizer {HERE.parents[1] / "serving/psychechat/demo/counselor"}
    --dataset-name sharegpt --dataset-path {HERE / "seekers.json"} --sharegpt-output-len 64 --ignore-eos
    --num-prompts 20 --max-concurrency 4
    --save-result --result-filename vllm-bench.json
"""

if __name__ == "__main__":
    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    main(parser.parse_args(OPTIONS.split()))
