from hypothesis import settings

from tests.support.virtual_time import pytest_asyncio_loop_factories as pytest_asyncio_loop_factories

settings.register_profile("serving", deadline=None)  # an example may take what a busy machine makes it take
settings.load_profile("serving")
