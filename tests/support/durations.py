"""How long things last in tests."""

import pytest

REPORT_SECONDS = 2.0
"""Between two times that Ray passes metrics on, where its environment has `REPORTING`; else they are ten."""
REPORTING = {"RAY_metrics_report_interval_ms": str(round(1000 * REPORT_SECONDS))}


def load_seconds(config: pytest.Config) -> float:
    """Of a load on a server. `pytest --long` has more of it, and `make long` all: the benchmarks themselves."""
    return 60.0 if config.option.long else 15.0
