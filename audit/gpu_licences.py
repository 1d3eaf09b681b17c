"""What the packages that only the GPU image has say of their licences.

`python -m audit.gpu_licences`, which `make lock` runs, asks an index for the metadata of their wheels, by the hashes of
the lock, and downloads no wheel where the index has the metadata beside it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from email.message import Message
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from packaging.utils import canonicalize_name

from audit.licences import licence
from audit.packages import GPU_LICENCES, LOCKS, ROOT

PIP = "pip@26.3"
"""That of the environment is older, and would download gigabytes for what this one reads in their metadata."""
_HEAD = (
    "# Written by `python -m audit.gpu_licences`: what the metadata of the index's wheels says (License-Expression,\n"
    "# License, or classifiers), as audit/licences.py reads it.\n"
)


def _wanted() -> Iterator[str]:
    """Entries of the lock, with their hashes, of what is not installed here in that version."""
    text = (ROOT / LOCKS["gpu image"]).read_text("utf-8")
    for entry in re.split(r"\n(?=[\w.-]+==)", text):
        if found := re.match(r"([\w.-]+)==(\S+)", entry):
            name, number = found.groups()
            try:
                if version(name) == number:
                    continue
            except PackageNotFoundError:
                pass
            yield entry


def _report(entries: list[str]) -> Mapping[str, Any]:
    with TemporaryDirectory() as folder:
        requirements, report = Path(folder, "requirements.txt"), Path(folder, "report.json")
        requirements.write_text("\n".join(entries) + "\n")
        pip: list[str | Path] = [Path(sys.executable).with_name("uv"), "tool", "run", "--python", sys.executable, PIP]
        pip += ["install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        pip += ["--quiet", "--report", report, "--requirement", requirements]
        subprocess.run(pip, check=True, cwd=ROOT)  # noqa: S603
        found: Mapping[str, Any] = json.loads(report.read_text("utf-8"))
        return found


def message(metadata: Mapping[str, Any]) -> Message:
    """The fields that tell of a licence, as `importlib.metadata` gives them."""
    message = Message()
    for field in ("License-Expression", "License"):
        if told := metadata.get(field.lower().replace("-", "_")):
            message[field] = told
    for classifier in metadata.get("classifier", ()):
        message["Classifier"] = classifier
    return message


def main() -> None:
    each = [package["metadata"] for package in _report(list(_wanted()))["install"]]
    found = {f"{canonicalize_name(one['name'])}=={one['version']}": licence(message(one)) for one in each}
    GPU_LICENCES.write_text(_HEAD + yaml.safe_dump(found, width=1000), "utf-8")


if __name__ == "__main__":
    main()
