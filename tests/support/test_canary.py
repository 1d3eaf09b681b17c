import base64
import html
import json
import math
import urllib.parse
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from psychechat import demo
from tests.support.canary import Canary

COUNSELOR = Tokenizer.from_file(str(Path(demo.__file__).with_name("counselor") / "tokenizer.json"))
TEXTS = ["zanzibarquux", "月亮骆驼穿雨衣"]
SENTENCES = ["{}", "I want to die {} and", "她说“{}”。", "🐫{}!"]


def _base64(codec: str, before: int, kind: str, text: str) -> bytes:
    content = b"x" * before + text.encode(codec)
    return base64.urlsafe_b64encode(content) if kind else base64.b64encode(content)


Written = Callable[[str], str | bytes]
WAYS: dict[str, Written] = {
    "utf-8": str,
    "capitals": str.upper,
    "utf-16, little end first": lambda text: text.encode("utf-16-le"),
    "utf-16, big end first, at an odd place": lambda text: b"\0" + text.encode("utf-16-be"),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps({"body": json.dumps([text])}),
    "JSON in JSON in JSON, capital": lambda text: json.dumps(json.dumps(json.dumps(text))).upper(),
    "a repr": lambda text: ascii({"content": text}),
    "bytes' repr": lambda text: repr(text.encode()),
    "bytes' repr in JSON": lambda text: json.dumps(repr([text.encode()])),
    "HAProxy's dump": lambda text: "".join(
        c if c.isascii() else "".join(rf"\x{b:02X}" for b in c.encode()) for c in text
    ),
    "protobuf's text": lambda text: "".join(rf"\{byte:03o}" for byte in text.encode()),
    "a URL": urllib.parse.quote,
    "a URL in small letters": lambda text: urllib.parse.quote(text).lower(),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "a header": lambda text: text.encode().decode("latin-1"),
    "a header in JSON": lambda text: json.dumps({"x-session-id": text.encode().decode("latin-1")}),
    "a header's repr": lambda text: repr(text.encode().decode("latin-1")),
    "HTML": html.escape,
    "entities": lambda text: text.encode("ascii", "xmlcharrefreplace"),
    "entities in hex": lambda text: "".join(f"&#X{ord(letter):X};" for letter in text),
    **{
        f"base64 of {codec} after {n}{kind}": partial(_base64, codec, n, kind)
        for codec in ("utf-8", "utf-16-le", "utf-16-be")
        for n in range(3)
        for kind in ("", " for URLs")
    },
}
IDS: dict[str, Callable[[list[int]], str | bytes]] = {
    "a list": str,
    "a list in JSON": lambda ids: json.dumps(ids, separators=(",", ":")),
    "numbers": lambda ids: " ".join(map(str, ids)),
    "a tensor": lambda ids: "tensor([[" + ",\n  ".join(f"{i:6d}" for i in ids) + "]])",
    "int32": lambda ids: array("i", ids).tobytes(),
    "int64": lambda ids: b"\0" + array("q", ids).tobytes(),
}


@pytest.fixture(params=TEXTS)
def canary(request: pytest.FixtureRequest) -> Canary:
    return Canary(request.param, {"counselor": COUNSELOR})


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("way", WAYS)
def test_it_is_found_however_it_was_written(canary: Canary, way: str, sentence: str) -> None:
    written = WAYS[way](sentence.format(canary.text))
    assert canary.found_in(b"before " + (written.encode() if isinstance(written, str) else written) + b" after")


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("way", IDS)
def test_so_are_its_tokens(canary: Canary, way: str, sentence: str) -> None:
    written = IDS[way](COUNSELOR.encode(sentence.format(canary.text)).ids)
    assert canary.found_in(written.encode() if isinstance(written, str) else written)


def test_each_encoding_is_what_finds_one_of_these() -> None:
    canary = Canary(TEXTS[1], {"counselor": COUNSELOR})
    written = [way(sentence.format(canary.text)) for way in WAYS.values() for sentence in SENTENCES]
    written += [way(COUNSELOR.encode(canary.text).ids) for way in IDS.values()]
    found = {way for text in written for way in canary.found_in(text.encode() if isinstance(text, str) else text)}
    assert found == set(canary.encodings())


def test_nothing_is_found_where_it_is_not(canary: Canary) -> None:
    [other] = (text for text in TEXTS if text != canary.text)
    ways: list[Written] = [*WAYS.values(), lambda text: str(COUNSELOR.encode(text).ids)]
    for way in ways:
        for sentence in ("hello {} there", canary.text[:-1] + " {} " + canary.text[1:]):
            written = way(sentence.format(other))
            assert not canary.found_in(written.encode() if isinstance(written, str) else written)
    assert not canary.found_in(bytes(1000) + array("q", range(1000)).tobytes() + str(math.pi).encode())


def test_a_text_that_a_tokenizer_reads_differently_from_place_to_place_is_none() -> None:
    with pytest.raises(ValueError, match="differently"):
        Canary("the", {"counselor": COUNSELOR})
