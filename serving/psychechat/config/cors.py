"""CORS: whose pages may read the answers."""

import re
from typing import Annotated

from pydantic import AfterValidator

from psychechat.policy import Branch

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443")


def _origin(entry: str) -> str:
    if entry in ("*", "loopback"):
        return entry
    if not _ORIGIN.fullmatch(entry):
        raise ValueError(
            "must be 'loopback', '*' or an origin as browsers send it: https://app.example or http://localhost:3000, "
            "in small letters and without a path"
        )
    if _DEFAULT_PORT.fullmatch(entry):
        raise ValueError("leave out the port: browsers do where it is the scheme's own")
    return entry


class Cors(Branch):
    """Pages of which sites may use the API from a browser. Of none, as it stands."""

    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Each `scheme://host` or `scheme://host:port`. `loopback`: pages that this machine serves its own user, at any
    port. `*`: any page, which needs a key all the same. Cookies are never allowed: a page sends its key, and whoever
    sees the page can read that, so keep it on the page's own server where you can."""
