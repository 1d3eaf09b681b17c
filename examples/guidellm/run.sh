#!/bin/sh
# GuideLLM: time to the first token and throughput, 4 conversations at once. What is asked is in seekers.jsonl: a load of
# random tokens is nothing that a counselor gets, and may hold words of a crisis by chance. It has more lines than are asked
# for, since a run ends where they do.
#
#     pip install -r requirements.txt      # with torch's CPU build there before, 1 GB
#     sh run.sh                            # asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL; writes guidellm.json
set -eu
server="${OPENAI_BASE_URL:-http://127.0.0.1:8000/v1}"
guidellm run \
    --backend "kind=openai_http,target=${server%/v1},model=psychechat" \
    --profile kind=concurrent,streams=4 \
    --constraint kind=max_requests,count=20 \
    --data "kind=json_file,path=$(dirname "$0")/seekers.jsonl" \
    --output kind=console \
    --output kind=json,path=guidellm.json \
    --disable-console-interactive
