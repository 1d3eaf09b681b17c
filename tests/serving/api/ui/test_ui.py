"""The playground as a client without a browser sees it: what it may load, what it weighs, and whom it is for."""

import gzip
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.serving.api.http.test_auth import KEYS, bearer, keyring
from tests.serving.api.http.test_hosts import assert_not_local

Serving = Callable[..., AbstractContextManager[Any]]

STATIC = Path(str(files("psychechat.api.ui") / "static"))
NAMES = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file())
OURS = [name for name in NAMES if not name.startswith("vendor/") and not name.endswith(".svg")]
PATHS = ["/", *(f"/ui/{name}" for name in NAMES if name != "index.html")]
MOST_BYTES = 250_000


@pytest.fixture(scope="module")
def shown(serving_module: Serving) -> Iterator[Any]:
    with serving_module(ui=True) as served:
        yield served


def source(name: str) -> str:
    return (STATIC / name).read_text("utf-8")


def directives(policy: str) -> dict[str, str]:
    return {name: value for name, _, value in (part.strip().partition(" ") for part in policy.split(";"))}


def test_without_the_setting_there_is_no_page(served: Any) -> None:
    for path in ("/", "/ui/app.js", "/ui/"):
        answer = served.http.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "There is nothing at this path."


@pytest.mark.parametrize("path", PATHS)
def test_nothing_foreign_may_be_loaded_or_run(shown: Any, path: str) -> None:
    """A script, a style or a frame of another origin, or one that stands in the page."""
    headers = shown.http.get(path).headers
    assert directives(headers["content-security-policy"]) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/ui/app.js", "text/javascript; charset=utf-8"),
        ("/ui/vendor/preact.js", "text/javascript; charset=utf-8"),
        ("/ui/style.css", "text/css; charset=utf-8"),
        ("/ui/icon.svg", "image/svg+xml"),
        ("/ui/vendor/inter.woff2", "font/woff2"),
        ("/ui/vendor/preact.LICENSE.txt", "text/plain; charset=utf-8"),
    ],
)
def test_each_kind_of_file_has_its_type(shown: Any, path: str, kind: str) -> None:
    """A browser that must not sniff runs no module of another type."""
    assert shown.http.get(path).headers["content-type"] == kind


@pytest.mark.parametrize("path", PATHS)
def test_every_file_arrives_whole_plain_and_zipped(shown: Any, path: str) -> None:
    content = (STATIC / (path.removeprefix("/ui/").lstrip("/") or "index.html")).read_bytes()
    plain = shown.http.get(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == content
    with shown.http.stream("GET", path, headers={"accept-encoding": "gzip"}) as zipped:
        sent = b"".join(zipped.iter_raw())
    if zipped.headers.get("content-encoding") == "gzip":
        assert gzip.decompress(sent) == content
        assert zipped.headers["etag"] != plain.headers["etag"]
    else:
        assert sent == content
    assert plain.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip, deflate, br", True),
        ("GZIP;q=0.5", True),
        ("*", True),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("", False),
        (";;,,", False),
    ],
)
def test_gzip_is_for_who_takes_it(shown: Any, accepted: str, zipped: bool) -> None:
    headers = shown.http.get("/ui/app.js", headers={"accept-encoding": accepted}).headers
    assert (headers.get("content-encoding") == "gzip") is zipped


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("path", ["/", "/ui/app.js"])
def test_who_has_a_file_gets_it_once(shown: Any, path: str, encoding: str) -> None:
    accept = {"accept-encoding": encoding}
    etag = shown.http.get(path, headers=accept).headers["etag"]
    assert re.fullmatch(r'"[^"]+"', etag)  # strong
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = shown.http.get(path, headers=accept | {"if-none-match": known})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == "no-cache"
        assert again.headers["content-security-policy"]
    assert shown.http.get(path, headers=accept | {"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/ui/style.css"])
def test_head_is_get_without_the_body(shown: Any, path: str) -> None:
    whole, head = shown.http.get(path), shown.http.head(path)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "etag", "content-security-policy"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    "path", ["/ui", "/ui/", "/ui/nowhere.js", "/ui/index.html", "/ui/../app.py", "/ui/%2e%2e/files.py", "/ui//app.js"]
)
def test_what_is_not_there_is_our_404(shown: Any, path: str) -> None:
    answer = shown.http.get(path)
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_it_takes_no_other_method(shown: Any) -> None:
    assert shown.http.post("/", json={}).status_code == 405


def test_the_page_needs_no_key_and_all_it_shows_needs_one(shown: Any) -> None:
    shown.keyring = keyring(KEYS)
    try:
        assert {shown.http.get(path).status_code for path in PATHS} == {200}
        assert {shown.http.get(path).status_code for path in ("/v1/models", "/openapi.json")} == {401}
        assert shown.http.get("/ui/nowhere.js").status_code == 401  # as anywhere: nothing is told without a key
        assert shown.http.get("/ui/nowhere.js", headers=bearer(KEYS["ward"])).status_code == 404
        assert shown.http.get("/", headers={"host": "public.example"}).status_code == 200
    finally:
        shown.keyring = keyring({})


@pytest.mark.parametrize("path", ["/", "/ui/app.js"])
def test_without_keys_it_is_for_this_machine_alone(shown: Any, path: str) -> None:
    assert_not_local(shown.http.get(path, headers={"host": "evil.example"}), "localhost")


def test_it_is_no_part_of_the_api(shown: Any) -> None:
    assert not [path for path in shown.http.get("/openapi.json").json()["paths"] if "ui" in path or path == "/"]


def test_all_of_it_is_small(shown: Any) -> None:
    """What a first visit loads, as it travels, and even as it lies here."""
    sent = 0
    for path in PATHS:
        with shown.http.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
            sent += sum(map(len, answer.iter_raw()))
    assert sent < MOST_BYTES / 2
    assert sum((STATIC / name).stat().st_size for name in NAMES) < MOST_BYTES


def test_every_file_that_is_named_is_there() -> None:
    for name in NAMES:
        if not name.endswith((".js", ".css", ".html")):
            continue
        text, folder = source(name), (STATIC / name).parent
        if name == "index.html":
            named = [
                Path(str(STATIC)) / path.removeprefix("ui/") for path in re.findall(r'(?:src|href)="([^"]+)"', text)
            ]
            assert named
        else:
            found = re.findall(r'\bfrom ?"(\S+?)"|\bimport ?"(\S+?)"|url\("(\S+?)"\)', text)
            named = [folder / next(filter(None, groups)) for groups in found]
        assert [str(path) for path in named if not path.is_file()] == [], name


def test_every_module_is_fetched_without_waiting_for_another() -> None:
    """A module that the page does not name is found only once the one that imports it has been read."""
    modules = {name for name in NAMES if name.endswith(".js")}
    assert modules == set(re.findall(r'(?:src|href)="ui/([^"]+\.js)"', source("index.html")))


@pytest.mark.parametrize("name", OURS)
def test_no_text_can_become_markup_or_code(name: str) -> None:
    """What people and models write goes through preact, which escapes it."""
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|<script>|\son[a-z]+=|javascript:"
    assert re.findall(rf"{markup}|\beval\b|new Function", source(name)) == []


@pytest.mark.parametrize("name", OURS)
def test_it_knows_no_other_host(name: str) -> None:
    """Comments and the namespaces of XML alone may name one."""
    text = re.sub(r"^\s*(//|\*|/\*).*$", "", source(name), flags=re.M)
    assert re.findall(r"https?://[\w.-]+\w", text) == []


def test_its_libraries_have_their_licences() -> None:
    notice = (Path(__file__).parents[4] / "NOTICE").read_text("utf-8")
    libraries = {name.removeprefix("vendor/").partition(".")[0] for name in NAMES if name.startswith("vendor/")}
    for library in libraries - {"hooks"}:  # preact's
        assert f"vendor/{library}.LICENSE.txt" in NAMES
        assert re.search(rf"^  {library} \d+\.\d+\.\d+", notice, re.M | re.I), library
