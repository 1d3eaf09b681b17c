"""What pytest-xdist does with the lanes, and what it shows of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTEST = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "no:cacheprovider"]


def apart() -> dict[str, str]:
    """The environment of a pytest that is nobody's worker, and has no other plugins."""
    own = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    return own | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


FILES = {
    "conftest.py": """
        from pathlib import Path
        from tests.conftest import *
        lanes.TESTS = Path(__file__).parent
    """,
    "deployments/test_ray.py": """
        @mark.e2e
        @mark.parametrize("n", range(4))
        def test_in_the_ray_lane(n): time.sleep(0.2)
        def test_in_the_ray_lane_too(): pass
    """,
    "e2e/test_whole.py": """
        def test_in_the_machine_lane_last(): pass
    """,
    "kernels/test_fused_heads.py": """
        def test_of_the_longest_file(): pass
    """,
    "models/test_of_a_short_file.py": """
        def test_of_a_short_file(): pass
    """,
    "serving/test_clock.py": """
        @mark.clock
        def test_in_the_machine_lane_too(): assert False
    """,
    "serving/test_engine.py": """
        @mark.engine
        @mark.parametrize("n", range(4))
        def test_in_the_machine_lane(n): time.sleep(0.2)
    """,
}


def test_the_long_lanes_start_at_once_and_the_files_follow(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = re.sub("^ {8}", "", text.replace("@mark.", "@pytest.mark."), flags=re.MULTILINE)
        (tmp_path / name).write_text("import time, pytest\n" + text)
    command = [*PYTEST, "-v", "-n2", "--import-mode=importlib"]
    done = subprocess.run(command, cwd=tmp_path, env=apart(), capture_output=True, text=True)
    ran = re.findall(r"\[(gw\d)\].*(?:PASSED|FAILED) \S+::test_(\w+)", done.stdout)
    lanes = [[name for at, name in ran if at == worker and "lane" in name] for worker in ("gw0", "gw1")]
    machine = ["in_the_machine_lane_too", *["in_the_machine_lane"] * 4, "in_the_machine_lane_last"]
    assert sorted(lanes) == [machine, [*["in_the_ray_lane"] * 4, "in_the_ray_lane_too"]], done.stdout + done.stderr
    others = [name for _, name in ran if "lane" not in name]
    assert others == ["of_the_longest_file", "of_a_short_file"]
    assert "FAILED serving/test_clock.py::test_in_the_machine_lane_too - assert" in done.stdout
