# SPDX-License-Identifier: GPL-2.0-or-later
"""The sources of every suite, derived from those of the machine."""

from __future__ import annotations

import pytest

from lab.kernel.suites import Mirror, absent_suites, signing_keys

DEB822 = """\
# a comment
Types: deb
# another
URIs: http://mirror.example/debian/ http://second.example/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://inline.example/debian
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
"""
ONE_LINE = """\
deb [arch=amd64 signed-by=/etc/apt/keyrings/old.gpg] http://old.example/debian bookworm main
# deb [signed-by=/nowhere] http://commented.example/debian bookworm main
deb http://plain.example/debian bookworm main
"""


def test_signing_keys() -> None:
    """The key of each mirror is found in both formats, also one that is written out in place."""
    keys = signing_keys([(True, DEB822), (False, ONE_LINE)])
    assert keys["http://mirror.example/debian"] == "/usr/share/keyrings/debian.gpg"
    assert keys["http://second.example/debian"] == "/usr/share/keyrings/debian.gpg"
    assert keys["http://inline.example/debian"].splitlines()[1] == " -----BEGIN PGP PUBLIC KEY BLOCK-----"
    assert keys["http://old.example/debian"] == "/etc/apt/keyrings/old.gpg"
    assert set(keys) & {"http://plain.example/debian", "http://commented.example/debian"} == set()


def test_stanza() -> None:
    """A source keeps its key: another suite is trusted no more than the machine's own."""
    text = Mirror("http://mirror.example/debian", "Debian", "/k.gpg").stanza(["sid", "trixie"])
    assert "Suites: sid trixie\n" in text
    assert "Signed-By: /k.gpg\n" in text
    assert "Signed-By" not in Mirror("http://mirror.example/debian", "Debian", "").stanza(["sid"])


@pytest.mark.parametrize(
    ("line", "suites"),
    [
        ("E: The repository 'http://m/debian duke Release' does not have a Release file.", {"duke"}),
        ("E: The repository 'http://m/debian sid InRelease' is not signed.", {"sid"}),
        (
            "E: Release file for http://m/dists/x-security/InRelease is expired (invalid since 1d).",
            {"x-security"},
        ),
        ("E: Failed to fetch http://m/dists/sid/InRelease  Could not connect to m:80", set()),
        ("W: The repository 'http://m/debian duke Release' does not have a Release file.", set()),
    ],
)
def test_absent_suites(line: str, suites: set[str]) -> None:
    """A suite that cannot be had is told from a mirror that cannot be reached."""
    assert set(absent_suites([line])) == suites
