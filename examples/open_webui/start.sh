#!/bin/sh
# Open WebUI in front of the server, with everything else as it comes.
#
#     pip install -r requirements.txt      # 2.4 GB with torch's CPU build, which is to be there before; 7 GB without
#     sh start.sh                          # http://127.0.0.1:8080, or PORT; asks OPENAI_BASE_URL
set -eu
export OPENAI_API_BASE_URL="${OPENAI_BASE_URL:-http://127.0.0.1:8000/v1}"
export OPENAI_API_KEY="${OPENAI_API_KEY:-none}"
export ENABLE_OLLAMA_API=false
exec open-webui serve --host 127.0.0.1 --port "${PORT:-8080}"
