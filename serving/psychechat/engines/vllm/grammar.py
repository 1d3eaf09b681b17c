"""JSON schemas as grammars that keep an answer valid, down to its characters."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import xgrammar

from psychechat.engines.thinking import CLOSE

_CHARACTER = r"[^\"\\\r\n]"
_VALID_CHARACTER = r"[^\0-\x1f\"\\\ud800-\udfff]"


def grammar(
    schema: Mapping[str, Any], *, indent: int | None = None, after: str = "", thinks_in_text: bool = False
) -> str:
    """The schema in xgrammar's EBNF. `indent`: spaces a level, as `json.dumps` writes it; None: no white space between
    tokens. `after`: what the JSON comes after, such as a blank line. `thinks_in_text`: before all that stands any text
    up to and with `</think>`, of a model for which that is no token of its own.

    For a string with `maxLength` xgrammar 0.2.8 writes a rule that lets bare control characters through, which no
    JSON parser takes, and the bytes of surrogates, which decode to three characters each and so past the bound; that
    rule is mended here. It has no escapes, so that no quotation mark can be written: with
    them each token took 170 ms of the engine's time instead of 0.03 ms. (Given as a `pattern`, the same bound does
    not compile once xgrammar's cache is on.)
    """
    return _ebnf(json.dumps(schema, ensure_ascii=False), indent, after, thinks_in_text)


def forced_text(matcher: xgrammar.GrammarMatcher) -> str:
    """What must come next where the grammar leaves no choice, in whole characters.

    Where it leaves one of two characters that begin with the same byte, xgrammar 0.2.8 names that byte, and cannot
    make a text of it.
    """
    try:
        return str(matcher.find_jump_forward_string())
    except UnicodeDecodeError as error:
        return error.object[: error.start].decode()


@lru_cache(maxsize=1024)
def one_of(texts: tuple[str, ...], *, thinks_in_text: bool = False) -> str:
    """Grammar of an answer that is one of the texts, after white space or none. `thinks_in_text`: as for `grammar`."""
    alternatives = " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)
    answer = rf'root ::= ("" | "\n" | "\n\n") ({alternatives})'
    if not thinks_in_text:
        return answer
    return str(xgrammar.Grammar.concat(xgrammar.Grammar.from_ebnf(_UP_TO_CLOSE), xgrammar.Grammar.from_ebnf(answer)))


@lru_cache(maxsize=256)
def _ebnf(schema: str, indent: int | None, after: str, thinks_in_text: bool) -> str:
    of_json = xgrammar.Grammar.from_json_schema(
        schema, any_whitespace=False, indent=indent, separators=(",", ": " if indent else ":")
    )
    parts = [xgrammar.Grammar.from_ebnf(_UP_TO_CLOSE)] if thinks_in_text else []
    if after:
        parts.append(xgrammar.Grammar.from_ebnf(f"root ::= {json.dumps(after)}"))
    whole = xgrammar.Grammar.concat(*parts, of_json) if parts else of_json
    return str(whole).replace(_CHARACTER, _VALID_CHARACTER)


def _up_to(end: str) -> str:
    """Grammar of any text that ends with the first `end`: one rule for each number of its characters that stand there.

    `end` begins with a character that comes again nowhere in it.
    """
    rules = ["root ::= in0"]
    for count, expected in enumerate(end):
        others = f"[^{_escaped(expected)}{'' if count == 0 else _escaped(end[0])}] in0"
        again = f' | "{end[0]}" in1' if count else ""
        rules.append(f'in{count} ::= {others}{again} | "{expected}" in{count + 1}')
    return "\n".join([*rules, f'in{len(end)} ::= ""'])


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}"


_UP_TO_CLOSE = _up_to(CLOSE)
