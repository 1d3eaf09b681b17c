from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.virtual_time import pytest_asyncio_loop_factories as pytest_asyncio_loop_factories

settings.register_profile("serving", deadline=None)  # an example may take what a busy machine makes it take
settings.load_profile("serving")


@pytest.fixture(scope="module", autouse=True)
def _no_certificates() -> Iterator[None]:
    """A client reads those of all the world when it is made, which takes longer than most tests. None needs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", str(Path(__file__).parent))
        yield
