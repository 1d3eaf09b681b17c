"""`psychechat serve` is told to read its settings again: the policy and the keys change, and no replica restarts."""

import hashlib
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.support import servers
from tests.support.servers import Server, wait_until

pytestmark = pytest.mark.e2e

SERVED, KEPT = "were read again, and are served", "The policy and the keys of before are served"


def reason(server: Server, key: str) -> str:
    """Why a turn of raised risk is routed as it is, or the error's code."""
    body = {"model": "psychechat", "messages": [{"role": "user", "content": "All feels hopeless."}]}
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=60).json()
    return str(answer["psychechat"]["reason"] if "psychechat" in answer else answer["error"]["code"])


def replicas(server: Server) -> dict[int, str]:
    family = psutil.Process(server.process.pid).children(recursive=True)
    titles = {process.pid: " ".join(process.cmdline()) for process in family}
    return {pid: title for pid, title in titles.items() if "ServeReplica:" in title}


def test_another_policy_and_other_keys_are_taken_whole_or_not_at_all(short_folder: Callable[[], Path]) -> None:
    folder = short_folder()
    file, keys = folder / "settings.yaml", folder / "keys.yaml"

    def write_keys(*names: str) -> None:
        keys.write_text(yaml.safe_dump({name: hashlib.sha256(name.encode()).hexdigest() for name in names}))

    write_keys("first", "second")
    start: Mapping[str, Any] = {**servers.SCRIPTED, "auth": {"keys_file": str(keys)}}
    with servers.configured(start, folder) as server:
        written = yaml.safe_load(file.read_text())

        def tell(expected: str, **changes: Any) -> None:
            file.write_text(yaml.safe_dump(written | changes))
            before = server.log.read_text().count(expected)
            server.process.send_signal(signal.SIGUSR1)
            wait_until(lambda: server.log.read_text().count(expected) > before, 60, server.log.read_text)

        wait_until(lambda: "kill -USR1" in server.log.read_text(), 60, server.log.read_text)
        assert reason(server, "first") == "raised_risk"
        whole = replicas(server)
        assert len(whole) == 3
        calmer = {"routing": {"raised_from": "ideation"}}
        tell(SERVED, policy=calmer)
        assert reason(server, "first") == "low_risk"
        write_keys("second", "third")
        tell(KEPT, policy={"routing": {"raised_frm": "indicator"}})
        tell(KEPT, policy={}, default_language="zh")
        assert [reason(server, key) for key in ("first", "third")] == ["low_risk", "invalid_api_key"]
        tell(SERVED, policy=calmer)
        assert [reason(server, key) for key in ("first", "third")] == ["invalid_api_key", "low_risk"]
        assert replicas(server) == whole
