"""What is forgiven in a body, what is guessed, and what neither takes long for."""

import json
import random

import orjson
import pytest

from psychechat.api.http.lenient import made_out, read

HALF, FACE = "\\ud83d", "\\ud83d\\ude42"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        ('{"a": "é"}'.encode("utf-16-le"), {"a": "é"}),
        (f'{{"a": "x {HALF}"}}'.encode(), {"a": "x \ufffd"}),
        (f'{{"a": "{HALF}x{FACE}{HALF}{HALF}"}}'.encode(), {"a": "\ufffdx\U0001f642\ufffd\ufffd"}),
        (b'{"a": "\\ude42\\ud83d"}', {"a": "\ufffd\ufffd"}),
        (f'{{"a": ["\\\\{HALF[1:]}", "{HALF}", "\\\\{HALF}"]}}'.encode(), {"a": ["\\ud83d", "\ufffd", "\\\ufffd"]}),
        (f'{{"a{HALF}": 1}}'.encode(), {"a\ufffd": 1}),
        (b'{"a": "x\xe6\x88"}', {"a": "x\ufffd"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": "x\n\t\x00y"}', {"a": "x\n\t\x00y"}),
    ],
)
def test_what_leaves_no_doubt_is_forgiven(body: bytes, value: object) -> None:
    assert read(body) == value
    assert orjson.dumps(read(body))  # which refuses halves of characters


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"x", b'{"a": 1,}', b'{"a": 1}}', b'{"a": "b', b"{'a': 1}", b"\xff\xfe", b"[" * 100_000, b"9" * 5_000],
)
def test_what_is_no_json_is_an_error(body: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        read(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": ["b"],}', {"a": ["b"]}),
        (b'{"a": ["b"]', {"a": ["b"]}),
        (b'{"a": "b c', {"a": "b c"}),
        (b'{"a": "b"}}', {"a": "b"}),
        (b'{"a": "b"}\n--end', {"a": "b"}),
        (b"{'a': None, 'b': True}", {"a": None, "b": True}),
        (b'{a: "b" "c": "d"}', {"a": "b", "c": "d"}),
        (b'```json\n{"a": "b"}\n```', {"a": "b"}),
        (b'\xef\xbb\xbf{"a": "x\xe6\x88",}', {"a": "x\ufffd"}),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_rest_is_guessed(body: bytes, value: object) -> None:
    assert made_out(body) == value


def test_no_bytes_break_it() -> None:
    """Seeded, of the characters that JSON is made of and of any."""
    dice = random.Random(7)
    for _ in range(3_000):
        alphabet = dice.choice([b"{}[]\",:\\'", b'{"a":', b"{}[]\",:\\' \nux/*1-.eEtfn`#", bytes(range(256))])
        body = bytes(dice.choice(alphabet) for _ in range(dice.choice([3, 30, 300])))
        value = made_out(body)
        assert value is None or json.dumps(value)


_SIZE = 1_000_000


@pytest.mark.parametrize(
    "body",
    [
        *(piece * (_SIZE // len(piece)) for piece in (b"[", b'{"a":', b"{", b'"', b'"a', b"'", b",", b"a", b"]", b":")),
        *(piece * (_SIZE // len(piece)) for piece in (b"[{", b'{"a":"b" "c",', b"//\n", b"1-", b"\\", b"\\u", b"\xff")),
        *(
            b'{"a":"' + piece * (_SIZE // len(piece))
            for piece in (b"\\", b'b" ', b'",', b'":', b"\\u", b"\\ud83d", b"x")
        ),
        b"\xef\xbb\xbf[" + b"[]," * (_SIZE // 3) + b"[]]",
        b'\xef\xbb\xbf["\\ud83d",' + b"[]," * (_SIZE // 3) + b"[]]",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_a_hostile_body_breaks_nothing(body: bytes) -> None:
    """What it costs is measured by `benchmarks.hostile`."""
    assert json.dumps(made_out(body))
