"""The clients that people use, against the real server: `make clients`.

Each has a folder in examples/. Their requirements conflict, so each gets an environment of its own, with the versions
that its example pins. There the example runs as a newcomer runs it, then its check (`checks/`). Beside them
schemathesis makes requests from our OpenAPI document and compares the answers with it, with all of its checks.

Writes clients.json and exits with 1 if one of them fails. What is not tried this time keeps its newest result.
"""

import json
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import environments
from benchmarks.clients.catalogue import CLIENTS
from benchmarks.clients.trial import Place, tried
from benchmarks.provenance import RESULTS, commit, provenance, today
from tests.support import servers
from tests.support.receiver import SECRET

SCHEMATHESIS = "schemathesis"
_VERSION = "4.32.5"
FILE = "clients.json"
NAMES = (*(client.name for client in CLIENTS), SCHEMATHESIS)


def schemathesis(url: str, folder: Path, examples: int, seed: int) -> dict[str, Any]:
    programs = environments.made(folder, f"{SCHEMATHESIS}=={_VERSION}")
    options = f"--checks all --max-examples {examples} --seed {seed} --no-color".split()
    config = str(Path(__file__).with_name("schemathesis.toml"))
    command = [str(programs / "st"), "--config-file", config, "run", f"{url}/openapi.json", *options]
    found = Place(folder, programs, {"PYTHONPATH": ""}).run(*command, capture_output=True)
    print(found.stdout)
    cases = re.search(r"(\d+) generated", found.stdout)
    assert cases is not None, found.stderr
    return {
        "versions": {SCHEMATHESIS: _VERSION},
        "checks": "all",
        "tests": int(cases[1]),
        "failed": len(re.findall(r"Test Case ID", found.stdout)) or int(found.returncode != 0),
        "seed": seed,
    }


def before() -> dict[str, Any]:
    """The newest result of each that is still tried."""
    newest = max(RESULTS.glob(f"*/{FILE}"), default=None)
    found: dict[str, Any] = json.loads(newest.read_text("utf-8"))["clients"] if newest else {}
    return {name: found[name] for name in NAMES if "day" in found.get(name, ())}


def main(
    only: Annotated[list[str] | None, typer.Option(help="One client, or several by several options.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that take gigabytes.")] = False,
    real: Annotated[bool, typer.Option(help="The examples alone, against the demo's models.")] = False,
    examples: Annotated[int, typer.Option(help="Cases that schemathesis may make up for each operation.")] = 100,
    seed: Annotated[int, typer.Option(help="Decides them.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Try the clients and write clients.json; with `--real`, only tell."""
    unknown = set(only or ()) - set(NAMES)
    if unknown:
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}")
    chosen = [client for client in CLIENTS if (client.name in only if only else everything or not client.big)]
    ran = {"commit": commit(), "day": datetime.now(UTC).date().isoformat()}
    found: dict[str, Any] = {}
    head, earlier = provenance(f"python -m benchmarks.clients --examples {examples} --seed {seed}"), before()

    def keep(name: str, result: dict[str, Any]) -> None:
        """At once: an hour's results shall not go with its last client."""
        found[name] = result | ran
        Console().print({name: found[name]})
        if not real:
            clients = {name: (earlier | found)[name] for name in NAMES if name in earlier | found}
            (today(output) / FILE).write_text(json.dumps(head | {"clients": clients}, indent=2) + "\n")

    with tempfile.TemporaryDirectory() as temporary:
        folder, port = Path(temporary), servers.free_port()
        (secret := folder / "secret").write_text(SECRET)
        settings = servers.demo() if real else dict(servers.SCRIPTED)
        settings["escalation"] = {"url": f"http://127.0.0.1:{port}/crises", "secret_file": str(secret)}
        settings["cors"] = {"origins": ["loopback"]}
        settings["policy"] = {**settings.get("policy", {}), "quota": {"crises_per_minute": None}}
        with servers.configured(settings, folder) as server:
            variables = {
                "PSYCHECHAT_URL": server.url,
                "OPENAI_BASE_URL": f"{server.url}/v1",
                "OPENAI_API_KEY": "none",
                "HANDOVER_PORT": str(port),
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches a table of prices
                "PYTHONPATH": "",
            }
            for client in chosen:
                keep(client.name, tried(client, folder / client.name, variables, scripted=not real))
            if not real and (not only or SCHEMATHESIS in only):
                keep(SCHEMATHESIS, schemathesis(server.url, folder / SCHEMATHESIS, examples, seed))
    if any(result["failed"] for result in found.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
