"""What is forgiven in a body, what is guessed, and what neither takes long for."""

import json
import random

import orjson
import pytest

from psychechat.api.http.body.lenient import is_lost, made_out, read

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
    ("text", "encoding", "charset"),
    [
        *(
            (text, "gbk", charset)
            for text in ("想死", "我不想活了。", "I feel 没有意思 today")
            for charset in (None, "GBK", "gb2312")
        ),
        ("我不想活了，一個人。\U0001f642", "gb18030", None),
        *(("我不想活了", "gbk", charset) for charset in ("no-such-charset", "zlib", "unicode_escape", "idna", "\0")),
        ("我不想活了", "big5hkscs", "big5-hkscs"),
        ("死にたい", "shift_jis", "Shift_JIS"),
        ("死にたい", "iso2022_jp", "iso-2022-jp"),
        ("죽고 싶어", "euc_kr", "euc-kr"),
        ("我不想活了", "hz", "hz-gb-2312"),
        ("Je veux mourir, déprimé", "latin-1", "iso-8859-1"),
        ("хочу умереть", "cp1251", "windows-1251"),
        *(
            ("我不想活了，真的", "utf-8", charset)
            for charset in ("utf-8", "gbk", "iso-8859-1", "utf-16", "no-such-charset")
        ),
    ],
)
def test_other_charsets(text: str, encoding: str, charset: str | None) -> None:
    """By the content type's word, or none: Chinese as Windows has it. UTF-8 is never misread."""
    body = f'{{"a": "{text}"}}'.encode(encoding)
    assert read(body, charset) == {"a": text}
    assert made_out(body[:-1] + b",", charset) == {"a": text}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("我不想活了，真的很累", "big5hkscs"),
        ("消えてしまいたい、もう", "shift_jis"),
        ("나는 더 이상 살고 싶지 않아요", "euc_kr"),
        ("хочу умереть", "cp1251"),
    ],
)
def test_other_writing_is_not_taken_for_chinese(text: str, encoding: str) -> None:
    assert is_lost(read(f'{{"a": "{text}"}}'.encode(encoding))["a"])


@pytest.mark.parametrize("charset", [None, "iso-8859-1", "gbk"])
def test_broken_utf8_stays_utf8(charset: str | None) -> None:
    for broken in (b"\xe6\x88", b"\xf0\x9f\x98", b"\xe6\x88" * 3):
        body = '{"a": "我不想活了'.encode() + broken + '，真的"}'.encode()
        assert read(body, charset) == {"a": body.decode("utf-8", "replace")[7:-2]}


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("I want to die", False),
        ("ok \ufffd", False),
        ("\ufffd\ufffd", False),
        ("\ufffd\ufffd\ufffd", True),
        ("a" * 27 + "\ufffd" * 3, False),
        ("a" * 26 + "\ufffd" * 3, True),
        ("a" * 1_000 + "\ufffd" * 8, False),
        ("a" * 1_000 + "\ufffd" * 9, True),
        (("a" * 27 + "\ufffd" * 3) * 50, False),  # here and there
        (("a" * 26 + "\ufffd" * 3) * 50, True),
        ("a" * 1_000 + "\ufffd\ufffdb" * 4 + "\ufffd" + "a" * 1_000, True),  # a passage of another charset
        ("a" * 1_000 + "\ufffd\ufffdbc " * 4 + "\ufffd" + "a" * 1_000, False),
    ],
)
def test_what_is_too_broken_to_be_read(text: str, lost: bool) -> None:
    assert is_lost(text) is lost


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
