"""The whole server on this machine: a Ray of its own, Serve, and the application, until it is interrupted."""

import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview
from rich.console import Console

from psychechat.config import ModelSettings, Settings, SettingsError
from psychechat_ray import gpus, soft_stop
from psychechat_ray.app import assemble
from psychechat_ray.environment import STOP_SECONDS
from psychechat_ray.ports import free_from, is_free
from psychechat_ray.replicas import Starts

APPLICATION = "psychechat"
OBJECT_STORE_BYTES = 100 * 2**20
"""Nothing of ours goes through Ray's object store."""
_STARTS = 3
"""Of Ray."""
_TAKEN_SECONDS = 60.0
"""For another policy to be taken."""
_SOON = Starts(attempts=2, pause_seconds=0.0)
"""Somebody is looking on: an engine that cannot start should say so."""


class StartFailed(Exception):
    """The port is taken, GPUs are missing, or Ray or a deployment cannot start. The message holds what Ray or Serve
    says of that.
    """


def run(settings: Settings, console: Console, *, logs: bool, read_again: Callable[[], Settings]) -> None:
    """Serve until SIGINT or SIGTERM, let the turns that run end, then stop everything that was started. A second signal
    ends the turns too, a third leaves what still stops. `logs` prints the replicas' logs too.

    SIGUSR1 has the settings read again, which are checked then, or a SettingsError: another policy is served from then
    on, and the files of keys as they are now.

    Raises StartFailed if Ray, Serve or an engine does not start.
    """
    started = time.monotonic()
    if not is_free(settings.host, settings.port):
        raise StartFailed(f"Cannot listen on {settings.host}:{settings.port}: choose another with --host and --port.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    told: SimpleQueue[None] = SimpleQueue()  # may be put into at any moment, as no lock or event may
    signal.signal(signal.SIGUSR1, lambda *_: told.put(None))
    # A core dump would hold what seekers wrote. Every process that is started from here inherits this.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        metrics_port = free_from(settings.metrics_port)
        with _ray(settings, console, metrics_port, logs=logs):
            _deploy(settings)
            _wait_until_running(settings, console, started)
            _announce(settings, console, metrics_port, started)
            try:
                _serve(settings, console, told, read_again)
            except KeyboardInterrupt:
                _let_turns_end(settings, console)
    except KeyboardInterrupt:
        console.print("Stopped.")


def _serve(
    settings: Settings, console: Console, told: SimpleQueue[None], read_again: Callable[[], Settings]
) -> NoReturn:
    """Take another policy each time that it is told to."""
    count = 0
    while True:
        told.get()
        count += 1
        try:
            read = read_again()
            if read.model_copy(update={"policy": settings.policy}) != settings:
                raise SettingsError("More than the policy has changed, which takes a restart.")
            # Else Serve sees no change where there is one in the files of keys alone.
            policy = read.policy.model_copy(update={"revision": f"{read.policy.revision}+{count}"})
            _deploy(read.model_copy(update={"policy": policy}))
            taken = _is_taken()
        except Exception as error:  # whatever it is, turns go on
            console.print(f"{error} The policy and the keys of before are served.", markup=False, soft_wrap=True)
            continue
        if taken:
            console.print("The policy and the keys were read again, and are served.")
        else:
            console.print("The policy and the keys were read again. Serve has not said yet that they are served.")


def _is_taken() -> bool:
    """Whether Serve says so, within `_TAKEN_SECONDS`."""
    deadline = time.monotonic() + _TAKEN_SECONDS
    while time.monotonic() < deadline:
        application = serve.status().applications.get(APPLICATION)
        if application is not None and application.status is ApplicationStatus.RUNNING:
            return True
        time.sleep(0.5)
    return False


def _deploy(settings: Settings) -> None:
    """Of what is served already only the policy may be another."""
    application = assemble(settings, version=str(os.getpid()), starts=_SOON)
    target = serve.RunTarget(application, name=APPLICATION)
    serve.run_many([target], wait_for_applications_running=False)


@contextmanager
def _ray(settings: Settings, console: Console, metrics_port: int, *, logs: bool) -> Iterator[None]:
    console.print("Starting Ray ...")
    if not logs:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
    _start_ray(settings, console, metrics_port, logs=logs)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has set its own
    try:
        _start_serve(settings, console)
        yield
    finally:
        console.print("Stopping ...")
        with redirect_stdout(None):  # Ray prints there that its own controller was killed
            try:
                serve.shutdown()  # type: ignore[no-untyped-call]
            finally:
                ray.shutdown()


def _start_ray(settings: Settings, console: Console, metrics_port: int, *, logs: bool) -> None:
    """Raises StartFailed. Ray gives its processes half a minute, which is not enough for a busy machine's first try."""
    for left in reversed(range(_STARTS)):
        try:
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
            return
        except Exception as error:  # Ray raises whatever it met
            if not left or "timed out" not in str(error):
                raise StartFailed(f"Ray cannot start: {error}\n`--logs` shows what it says meanwhile.") from error
            console.print("Ray has not started in time. Once more ...")
            ray.shutdown()
            _end_children()


def _start_serve(settings: Settings, console: Console) -> None:
    """Raises StartFailed. On a busy machine Serve's proxy may be late and be ended for it: a second one is not."""
    for is_last in (False, True):
        try:
            serve.start(http_options={"host": settings.host, "port": settings.port})
            return
        except (TimeoutError, RayError) as error:
            if is_last:
                raise StartFailed(f"Serve cannot start: {error}\n`--logs` shows what it says meanwhile.") from error
            console.print("Serve has not started. Once more ...")
            with redirect_stdout(None):
                serve.shutdown()  # type: ignore[no-untyped-call]


def _end_children() -> None:
    """What a start that failed has left behind: Ray has forgotten it, and there is nothing else yet."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(int(pid), 0)


def _let_turns_end(settings: Settings, console: Console) -> None:
    seconds = settings.policy.limits.turn_seconds + STOP_SECONDS
    console.print(
        f"No new request is taken; those that run have {seconds:.0f} s to end. Ctrl-C or SIGTERM again ends them now.",
        soft_wrap=True,
    )
    with console.status("") as spinner:
        ended = soft_stop.let_replies_end(
            ray.get_runtime_context().get_node_id(),
            settings.port,
            seconds,
            lambda running: spinner.update(f"{running} still run"),
        )
    console.print("All have ended." if ended else f"Some still run after {seconds:.0f} s.")


def _cpus(settings: Settings) -> int:
    return round(sum(part.most * part.num_cpus for part in settings.deployments.values()) + 0.5)


def _resources(settings: Settings) -> dict[str, float]:
    resources: dict[str, float] = {}
    for part in settings.deployments.values():
        for name, amount in part.resources.items():
            resources[name] = resources.get(name, 0.0) + part.most * amount
    return resources


def _models(settings: Settings) -> dict[str, ModelSettings]:
    return {"classifier": settings.classifier, **settings.engines}


def _wait_until_running(settings: Settings, console: Console, started: float) -> None:
    waiting = set(_models(settings))
    for name, model in _models(settings).items():
        console.print(f"Loading {name}: {model.model} on {model.engine}")
    cards = gpus.Watch(settings.deployments, _gpus)
    told: str | None = None
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
            if (missing := _missing(cards)) and missing != told:
                told = missing
                console.print(f"{missing} Waiting for them ...", markup=False, soft_wrap=True)
            spinner.update(f"{', '.join(sorted(waiting)) or 'ingress'} loading, {time.monotonic() - started:.0f} s")
            time.sleep(0.5)


def _gpus() -> float:
    """Those that Ray has found."""
    return float(ray.cluster_resources().get("GPU", 0.0))  # type: ignore[no-untyped-call]


def _missing(cards: gpus.Watch) -> str | None:
    try:
        return cards.missing()
    except gpus.TooFewGpus as error:
        raise StartFailed(str(error)) from None


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
    if settings.ui:
        console.print(f"Or look at it in a browser: {url}\n", highlight=False)
    console.print(f"Metrics for Prometheus: http://127.0.0.1:{metrics_port}/metrics\n", highlight=False)
    console.print(
        "[yellow]Keep this machine behind a firewall:[/] whatever the host above, Ray listens on every interface. "
        f"Without a password: HAProxy's statistics ({os.environ['RAY_SERVE_HAPROXY_STATS_PORT']}) and metrics "
        f"({os.environ['RAY_SERVE_HAPROXY_METRICS_PORT']}), Ray's metrics ({metrics_port}, 44217, 44227). "
        "Ray's processes and each replica's gRPC port (random), which unpickle what they get, ask for "
        f"{'a token' if os.environ['RAY_AUTH_MODE'] == 'token' else 'none either, since RAY_AUTH_MODE says so'}, and "
        "nothing there is encrypted.\n"
        f"`kill -USR1 {os.getpid()}` has another policy and other keys served, without a restart. "
        "Ctrl-C stops the server once the turns that run have ended.",
        highlight=False,
    )
