# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of known limitations: what they say, and that nothing in them is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import files
from lab.errors import SpecError
from lab.spec.catalog import Catalog
from lab.spec.expectations import Expectations, load_expectations

CASES = ("a/one", "a/two")
MACHINES = ("qxl", "test-gpu")
FAILS = """\
# Prose, whatever: it says.

# Reason: split on eviction
# Kernels: >=6.1,<6.13
# Machine: qxl
# Link: https://lists.example/1
# Owner: someone
a/one
a/two:mapping-size

# Reason: everywhere
a/two
"""


def read(root: Path, text: str, name: str = "fails.txt") -> Expectations:
    (root / "expectations").mkdir(exist_ok=True)
    (root / "expectations" / name).write_text(text)
    return load_expectations(root, CASES, MACHINES)


def test_paragraphs(tmp_path: Path) -> None:
    """What a paragraph says holds for all of its lines, on its kernels and its machine alone."""
    known = read(tmp_path, FAILS)
    (one,) = known.of("fails", "a/one", "qxl", "6.12.5")
    assert (one.reason, one.where, one.check) == ("split on eviction", "expectations/fails.txt:8", "")
    assert (one.link, one.owner) == ("https://lists.example/1", "someone")
    assert [e.check for e in known.of("fails", "a/two", "qxl", "6.12.5")] == ["mapping-size", ""]
    assert known.of("fails", "a/one", "qxl", "6.13") == ()
    assert known.of("fails", "a/one", "test-gpu", "6.12.5") == ()
    assert known.of("flakes", "a/one", "qxl", "6.12.5") == ()


@pytest.mark.parametrize(
    ("text", "problem", "name"),
    [
        ("a/one\n", "fails.txt:1:1: the paragraph needs a line", "fails.txt"),
        (
            "# Reason: x\n# Because: y\na/one\n",
            "fails.txt:2:1: beside cases, a comment says",
            "fails.txt",
        ),
        ("# Reason: x\n# Reason: y\na/one\n", "fails.txt:2:1: Reason is given twice", "fails.txt"),
        ("# Reason: x\n# Kernels: 6.1\na/one\n", "fails.txt:2:1: `6.1` is no range", "fails.txt"),
        ("# Reason: x\n# Machine: qx\na/one\n", "fails.txt:2:1: there is no machine qx", "fails.txt"),
        ("# Reason: x\n\na/one\n", "fails.txt:3:1: the paragraph needs a line", "fails.txt"),
        ("# Reason: x\na/thre\n", "fails.txt:2:1: there is no case a/thre", "fails.txt"),
        ("# Reason: x\na one\n", "fails.txt:2:1: `a one` is neither topic/case nor", "fails.txt"),
        ("# Reason: x\na/one:check\n", "skips.txt:2:1: only a whole case can be skipped", "skips.txt"),
        ("", "fail.txt:1:1: the lab reads only fails, flakes, skips", "fail.txt"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str, name: str) -> None:
    """A line that is not understood is told with file and line."""
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text, name)
    assert problem in str(caught.value)


def test_shipped_files() -> None:
    """What ships is right, and there are all three files, each explaining itself."""
    catalog = Catalog.load()
    assert isinstance(catalog.expectations, Expectations)
    for kind in ("fails", "flakes", "skips"):
        text = (files.shipped("testcases") / f"expectations/{kind}.txt").read_text()
        assert "# Reason: why" in text
