# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading touch latencies and drawing them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.report import samples
from lab.report.samples import BadSamples, read_touches
from lab.report.svg import HEIGHT, WIDTH, Series, latency_plot, thin


def test_read_touches(tmp_path: Path) -> None:
    """Latencies come in file order, which is touch order, whatever the pages are."""
    path = tmp_path / "touches.txt"
    path.write_bytes(b"page insn\n512 22000\n0 97\n")
    assert read_touches(path) == [22000, 97]
    path.write_bytes(b"# page latency\n0 5")
    assert read_touches(path) == [5]


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"", "line 1"),
        (b"0 1\n", "line 1"),
        (b"page insn\n", "no touch"),
        (b"page insn\n0 -1\n", "line 2"),
        (b"page insn\n0 1\n0 nan\n", "line 3"),
        (b"page insn\n0 1 2\n", "line 2"),
        (b"page insn\n0 1\r\n", "line 2"),
        (b"page insn\n\n0 1\n", "line 2"),
        (b"page insn\n0 1000000000000000000\n", "line 2"),
        ("page insn\n0 \u0661\n".encode(), "line 2"),
        (b"page insn\n0 " + b"9" * (1 << 20) + b"\n", "line 2"),
    ],
)
def test_bad_touches(tmp_path: Path, raw: bytes, where: str) -> None:
    """The first odd line refuses the file, and is named."""
    path = tmp_path / "touches.txt"
    path.write_bytes(raw)
    with pytest.raises(BadSamples, match=where):
        read_touches(path)


def test_too_many_touches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both bounds hold: touches and bytes; a missing file is no crash."""
    path = tmp_path / "touches.txt"
    path.write_bytes(b"page insn\n" + b"0 1\n" * 11)
    monkeypatch.setattr(samples, "MAX_SAMPLES", 10)
    with pytest.raises(BadSamples, match="more than 10 touches"):
        read_touches(path)
    monkeypatch.setattr(samples, "MAX_BYTES", 20)
    with pytest.raises(BadSamples, match="larger"):
        read_touches(path)
    with pytest.raises(BadSamples, match="cannot be read"):
        read_touches(tmp_path / "none.txt")


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=3000), st.integers(1, 50))
def test_thinning_keeps_the_extremes(values: list[int], columns: int) -> None:
    """However many dots are dropped, the longest and the shortest touch stay, in place and in order."""
    kept = thin(values, columns)
    assert len(kept) <= max(2 * columns, 1)
    assert all(values[index] == value for index, value in kept) and kept == sorted(kept)
    assert {max(values), min(values)} <= {value for _, value in kept}


@given(st.lists(st.integers(0, 10**18 - 1), min_size=1, max_size=50))
def test_drawing_stays_inside(values: list[int]) -> None:
    """Any latencies give well-formed SVG whose dots lie inside it, a latency of 0 as well."""
    text = latency_plot([Series("base", "base", values)], title="t", unit="ns", ident="p1")
    root = ET.fromstring(text)
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        for dot in path.attrib["d"].removeprefix("M").split("M"):
            x, y = map(float, dot.removesuffix("h0").split())
            assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT


def test_drawing_is_labelled_and_escaped() -> None:
    """Title, description, axis titles, ticks and legend are there; hostile words stay words."""
    sides = [Series("base", "base: <b>", [100] * 512), Series("patched", "</svg>", [100] * 511 + [348120])]
    text = latency_plot(sides, title="<script>", unit="guest instructions", ident="p1")
    root = ET.fromstring(text)
    words = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"base: <b>", "</svg>", "longest: 348,120", "100,000", "touch, in the order made"} <= set(words)
    assert "latency, guest instructions (log)" in words
    assert root[0].text == "<script>" and "the longest 348,120 guest instructions at touch 511" in (
        root[1].text or ""
    )
