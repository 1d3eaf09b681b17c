"""What `helm package` makes of the folder, and so whoever installs it from a registry has."""

import tarfile
from pathlib import Path

import pytest

from tests.helm.charts import CHART, EXAMPLES, Helm


@pytest.fixture(scope="module")
def package(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    helm.run("package", CHART, "--destination", folder)
    [archive] = folder.glob("psychechat-*.tgz")
    return archive


def test_it_has_the_chart_and_nothing_of_how_it_is_made(package: Path) -> None:
    with tarfile.open(package) as archive:
        names = {Path(name).relative_to("psychechat") for name in archive.getnames()}
    assert {Path("values.yaml"), Path("values.schema.json"), Path("README.md"), Path("rules/psychechat.yaml")} <= names
    assert {example.relative_to(CHART) for example in EXAMPLES} <= names
    assert {path.relative_to(CHART) for path in CHART.glob("dashboards/*.json")} <= names
    assert not {name for name in names if name.suffix in (".py", ".in") or "__pycache__" in name.parts}


def test_it_renders_as_the_folder_does(package: Path, helm: Helm) -> None:
    values = CHART / "ci/multi-gpu-values.yaml"
    assert helm.render(values=values, chart=package) == helm.render(values=values)
