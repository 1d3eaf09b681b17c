"""The whole server on this machine: a Ray of its own, Serve, and the application, until it is interrupted."""

import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview
from rich.console import Console

from psychechat.config import ModelSettings, Replicas, Settings
from psychechat_ray.app import assemble
from psychechat_ray.ports import free_from, is_free

APPLICATION = "psychechat"
OBJECT_STORE_BYTES = 100 * 2**20
"""Nothing of ours goes through Ray's object store."""


class StartFailed(Exception):
    """The port is taken, or a deployment cannot start. In the latter case the message is Serve's."""


def run(settings: Settings, console: Console, *, logs: bool) -> None:
    """Serve until SIGINT or SIGTERM, then stop everything that was started. `logs` prints the replicas' logs too.

    Raises StartFailed if an engine does not start.
    """
    started = time.monotonic()
    if not is_free(settings.host, settings.port):
        raise StartFailed(f"Cannot listen on {settings.host}:{settings.port}: choose another with --host and --port.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A core dump would hold what seekers wrote. Every process that is started from here inherits this.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        metrics_port = free_from(settings.metrics_port)
        with _ray(settings, console, metrics_port, logs=logs):
            serve.run_many([serve.RunTarget(assemble(settings), name=APPLICATION)], wait_for_applications_running=False)
            _wait_until_running(settings, console, started)
            _announce(settings, console, metrics_port, started)
            threading.Event().wait()
    except KeyboardInterrupt:
        console.print("Stopped.")


@contextmanager
def _ray(settings: Settings, console: Console, metrics_port: int, *, logs: bool) -> Iterator[None]:
    console.print("Starting Ray ...")
    if not logs:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
    ray.init(
        address="local",
        # What the settings ask for always fits; the engines share the cores that there are.
        num_cpus=max(os.cpu_count() or 1, _cpus(settings)),
        resources=_resources(settings),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        _metrics_export_port=metrics_port,
        log_to_driver=logs,
        logging_level=logging.INFO if logs else logging.ERROR,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has set its own
    try:
        serve.start(http_options={"host": settings.host, "port": settings.port})
        yield
    finally:
        console.print("Stopping ...")
        with redirect_stdout(None):  # Ray prints there that its own controller was killed
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()


def _cpus(settings: Settings) -> int:
    return round(sum(part.most * part.num_cpus for part in _parts(settings)) + 0.5)


def _resources(settings: Settings) -> dict[str, float]:
    resources: dict[str, float] = {}
    for part in _parts(settings):
        for name, amount in part.resources.items():
            resources[name] = resources.get(name, 0.0) + part.most * amount
    return resources


def _parts(settings: Settings) -> list[Replicas]:
    return [settings.ingress, *(model.replicas for model in _models(settings).values())]


def _models(settings: Settings) -> dict[str, ModelSettings]:
    return {"classifier": settings.classifier, **settings.engines}


def _wait_until_running(settings: Settings, console: Console, started: float) -> None:
    waiting = set(_models(settings))
    for name, model in _models(settings).items():
        console.print(f"Loading {name}: {model.model} on {model.engine}")
    with console.status("") as spinner:
        while True:
            application = serve.status().applications.get(APPLICATION)
            if application is not None:
                for name in sorted(waiting & _healthy(application)):
                    waiting.remove(name)
                    console.print(f"[green]Ready[/]  {name} after {time.monotonic() - started:.0f} s")
                if application.status is ApplicationStatus.RUNNING:
                    return
                if application.status is ApplicationStatus.DEPLOY_FAILED:
                    raise StartFailed(_complaints(application))
            spinner.update(f"{', '.join(sorted(waiting)) or 'ingress'} loading, {time.monotonic() - started:.0f} s")
            time.sleep(0.5)


def _healthy(application: ApplicationStatusOverview) -> set[str]:
    return {name for name, deployment in application.deployments.items() if deployment.status.value == "HEALTHY"}


def _complaints(application: ApplicationStatusOverview) -> str:
    failed = [f"{name}: {d.message}" for name, d in application.deployments.items() if "FAILED" in d.status.value]
    return "\n".join(failed) or application.message


def _announce(settings: Settings, console: Console, metrics_port: int, started: float) -> None:
    url = f"http://{settings.host}:{settings.port}"
    console.print(f"\n[bold]PsychēChat serves on {url}[/] after {time.monotonic() - started:.0f} s. Try:\n")
    console.print(
        f"  curl -N {url}/v1/chat/completions -H 'content-type: application/json' -d '"
        '{"model": "psychechat", "stream": true, "messages": [{"role": "user", "content": '
        '"I could not sleep. My exam is tomorrow."}]}\'\n',
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Metrics for Prometheus: http://127.0.0.1:{metrics_port}/metrics\n", highlight=False)
    console.print(
        "[yellow]Keep this machine behind a firewall:[/] whatever the host above, Ray listens on every interface: "
        f"HAProxy's statistics ({os.environ['RAY_SERVE_HAPROXY_STATS_PORT']}) and metrics "
        f"({os.environ['RAY_SERVE_HAPROXY_METRICS_PORT']}), Ray's metrics ({metrics_port}, "
        "44217, 44227) and processes (random ports), "
        "and each replica's gRPC port (random), which asks for no password and unpickles what it gets.\n"
        "Ctrl-C stops the server.",
        highlight=False,
    )
