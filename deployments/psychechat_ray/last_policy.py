"""The policy that the ingress served last, for a replica that starts while a newer one is wrong.

It is kept in Ray's GCS, where Serve's controller keeps what is deployed: it outlives replicas and the controller, and
goes with the cluster. So whoever finds one is not the first replica, and has something to go on with.
"""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

from ray.serve._private.storage.kv_store import RayInternalKVStore

logger = logging.getLogger(__name__)

STORE_SECONDS = 5.0
"""For an answer of the GCS, which may be away: a start then goes on without, and what was to be kept is so later."""


class LastPolicy:
    """As `user_config` has it, by application and deployment."""

    def __init__(self, application: str, deployment: str) -> None:
        self._name = f"psychechat-last-policy-{application}-{deployment}"
        self._stored: object = None
        self._thread = ThreadPoolExecutor(1, "last-policy")

    def keep(self, policy: object) -> None:
        """Called at each health check. What is new, or was not written yet, is so in a thread: no turn waits for it."""
        if policy is not self._stored:
            self._stored = policy
            self._thread.submit(self._write, policy)

    def kept(self) -> object:
        """None where there is none, or the GCS does not say."""
        try:
            found = _store(self._name).get(_KEY)
            return None if found is None else json.loads(found)
        except Exception as error:
            logger.warning("the last policy cannot be read: %s", type(error).__name__)
            return None

    def _write(self, policy: object) -> None:
        try:
            _store(self._name).put(_KEY, json.dumps(policy).encode())
        except Exception as error:
            self._stored = None
            logger.warning("the last policy is not kept yet: %s", type(error).__name__)


_KEY = "user_config"


def _store(name: str) -> RayInternalKVStore:
    """Serve's own, which has no bound in time by itself."""
    store = RayInternalKVStore(name)
    store.timeout = STORE_SECONDS
    return store
