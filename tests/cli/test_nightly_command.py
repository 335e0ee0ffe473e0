# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab nightly` as far as it needs no guest: wrong matrices, wrong options."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import CommandLine

from lab.results.runfolder import all_runs


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--budget", "soon"), "soon is no time; write 2h, 90m or 1h30m"),
        (("--budget", "0m"), "0m is no time"),
        (("nowhere.yaml",), "cannot read nowhere.yaml"),
        (
            ("--resume", "latest", "--skip-unchanged"),
            "--resume takes its matrix and its options from the run",
        ),
        (("--resume", "nothing"), "there is no run nothing"),
    ],
)
def test_wrong_options(
    lab: CommandLine, words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before anything is begun."""
    monkeypatch.chdir(tmp_path)
    said = lab("nightly", *words)
    said.check_refusal(2, told)
    assert all_runs() == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kernels: [{kernel: stock}]\n", "matrix.yaml:1:1: missing key 'cases'"),
        ("kernels: [{kernel: stok}]\ncases: [smoke]\n", "matrix.yaml:1:20: unknown kernel `stok`"),
        (
            "kernels: [{kernel: stock}]\ncases: [smoke]\nexclude: [{case: '*'}]\n",
            "the matrix has no cell that could be run (1 excluded)",
        ),
    ],
)
def test_wrong_matrices(
    lab: CommandLine, text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, at its place, and no run is made; the same for a dry run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text(text)
    for words in ((), ("--dry-run",)):
        lab("nightly", "matrix.yaml", *words).check_refusal(2, told)
    assert all_runs() == []
