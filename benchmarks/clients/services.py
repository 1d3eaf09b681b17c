"""What an example starts, for its check to ask: each yields the environment variables that tell where it is."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.clients.catalogue import EXAMPLES
from tests.support import servers
from tests.support.receiver import SECRET

Variables = Mapping[str, str]
MASTER_KEY = "sk-of-the-proxy"


@contextmanager
def litellm_proxy(programs: Path, folder: Path, variables: Variables) -> Iterator[Variables]:
    port = servers.free_port()
    config = str(EXAMPLES / "litellm_proxy" / "config.yaml")
    command = [str(programs / "litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    env = {**variables, "LITELLM_MASTER_KEY": MASTER_KEY}
    with servers.started(
        "litellm", command, port, folder / "litellm.log", ready_path="/health/liveliness", env=env
    ) as it:
        it.wait_until_ready()
        yield {"PROXY_URL": it.url, "PROXY_KEY": MASTER_KEY}


@contextmanager
def open_webui(programs: Path, folder: Path, variables: Variables) -> Iterator[Variables]:
    port = servers.free_port()
    env = {
        **variables,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PORT": str(port),
        "DATA_DIR": str(folder / "open-webui"),
        "WEBUI_SECRET_KEY": "of the test",
        # Nothing is fetched from a hub at the start.
        "OFFLINE_MODE": "true",
        "HF_HUB_OFFLINE": "1",
    }
    command = ["sh", str(EXAMPLES / "open_webui" / "start.sh")]
    with servers.started("open-webui", command, port, folder / "open-webui.log", ready_path="/ready", env=env) as it:
        it.wait_until_ready()
        yield {"OPEN_WEBUI_URL": it.url}


@contextmanager
def handover(programs: Path, folder: Path, variables: Variables) -> Iterator[Variables]:
    """The receiver, at the port to which the server tells of crises, and room for the desk that the check plays."""
    desk, port = servers.free_port(), int(variables["HANDOVER_PORT"])
    env = {
        **variables,
        "PORT": str(port),
        "PSYCHECHAT_ESCALATION_SECRET": SECRET,
        "CHATWOOT_URL": f"http://127.0.0.1:{desk}",
        "CHATWOOT_TOKEN": "of-the-desk",
        "CHATWOOT_TEAM": "7",
    }
    command = [str(programs / "python"), str(EXAMPLES / "handover" / "main.py")]
    with servers.started("handover", command, port, folder / "handover.log", ready_path="/", env=env) as it:
        yield {"RECEIVER_URL": it.url, "SECRET": SECRET, "DESK_PORT": str(desk)}


SERVICES: Mapping[str, Callable[[Path, Path, Variables], AbstractContextManager[Variables]]] = {
    "litellm_proxy": litellm_proxy,
    "open_webui": open_webui,
    "handover": handover,
}
