"""A word that nobody else writes passes through every real process and is found in no file that any of them wrote."""

from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.servers import Server

CANARY = "zanzibarquux"


def test_no_word_of_the_seeker_is_in_any_log(server: Server) -> None:
    bodies = [
        {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
        for model in ("psychechat", "psychechat-agent", "psychechat-llm")
        for text in (f"hello {CANARY} there", f"I want to die {CANARY}", f"{CANARY} " * 3_000, f"{CANARY} " * 9_000)
        for stream in (False, True)
    ]
    with httpx.Client(base_url=server.url, timeout=120) as client:
        for body in bodies:
            response = client.post("/v1/chat/completions", json=body)
            assert response.status_code == 200 or CANARY not in response.text
        for content in (f'{{"model": "{CANARY}"', f'{{"model": "{CANARY}", "messages": [{{"{CANARY}": 1}}]}}'):
            refused = client.post("/v1/chat/completions", content=content)
            assert refused.status_code == 400
            assert CANARY not in refused.text
        for path in ("/v1/classify", "/v1/moderations"):
            assert CANARY not in client.post(path, json={"input": [f"hello {CANARY}", f"{CANARY} " * 9_000]}).text
        assert CANARY not in client.get("/metrics").text
    files = list(_written(server))
    assert len(files) > 10  # Ray's own, the replicas' and the engines'
    for file in files:
        assert CANARY.encode() not in file.read_bytes(), file


def _written(server: Server) -> Iterator[Path]:
    """The server's own output, and the logs of its Ray session, whose folder ends in the process id."""
    yield server.log
    for session in Path("/tmp/ray").glob(f"session_*_{server.process.pid}"):
        yield from (file for file in (session / "logs").rglob("*") if file.is_file())
