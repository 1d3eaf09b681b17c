"""What an installed package says of its licence, and whether that lets us use it without a second thought."""

from email.message import Message
from functools import lru_cache
from importlib.metadata import PackageMetadata

from license_expression import (
    AND,
    OR,
    ExpressionError,
    LicenseSymbol,
    LicenseWithExceptionSymbol,
    Licensing,
    get_spdx_licensing,
)

FINE = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC", "MIT"),
        *("MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
        "BSD",  # one of BSD's, and it is not said which
    }
)
"""Licences, by their SPDX names, that ask for a notice, or for the source of the package's own changed files. Whatever
is not among them is looked at by somebody, and then stands in `exceptions.yaml`."""

FREEING = frozenset({"Autoconf-exception-3.0", "Bison-exception-2.2", "Classpath-exception-2.0", "GCC-exception-3.1"})
"""Exceptions to the GPL that let other code use what is under it, as `WITH` one of these says."""

_SAID = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu lesser general public license v2 (lgplv2)": "LGPL-2.1-only",
    "gplv2": "GPL-2.0-only",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
"""Names that packages give beside those of SPDX, in small letters."""


def licence(metadata: PackageMetadata | Message) -> str:
    """As an SPDX expression where what the package says is one, or is known by another name. Else its first words, and
    `unknown` where it says nothing.

    What it says is its `License-Expression`, else its `License`, which may be the whole text, else its classifiers.
    """
    own = [str(metadata[field]).strip() for field in ("License-Expression", "License") if metadata[field]]
    first_lines = [text.splitlines()[0].strip() for text in own if text]
    classifiers = [str(value) for value in metadata.get_all("Classifier") or [] if value.startswith("License :: ")]
    told = [name for name in (value.rpartition(" :: ")[2] for value in classifiers) if name != "OSI Approved"]
    named = [_expression(name) for name in told if name != "DFSG approved"]
    for line in first_lines:
        if found := _expression(line):
            return found
    if named and all(named):
        return " AND ".join(dict.fromkeys(name for name in named if name))
    said = next(iter([*first_lines, *told]), "")
    return said[:60] or "unknown"


def fine(licence: str) -> bool:
    """Whether it is `FINE` whichever way it is read: all parts of an AND, one of an OR."""
    return licence in FINE or _fine(_parsed(licence))


def _fine(node: object) -> bool:
    match node:
        case AND():
            return all(_fine(part) for part in node.args)
        case OR():
            return any(_fine(part) for part in node.args)
        case LicenseWithExceptionSymbol():
            return _fine(node.license_symbol) or node.exception_symbol.key in FREEING
        case LicenseSymbol():
            return node.key in FINE
    return False


def _expression(said: str) -> str | None:
    name = _SAID.get(said.lower(), said)
    if name in FINE:
        return name
    parsed = _parsed(name)
    return None if parsed is None else str(parsed)


def _parsed(expression: str) -> object | None:
    """None where it is no SPDX expression."""
    try:
        found: object = _spdx().parse(expression, validate=True)
    except ExpressionError:
        return None
    return found


@lru_cache
def _spdx() -> Licensing:
    return get_spdx_licensing()
