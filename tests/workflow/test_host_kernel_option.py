# SPDX-License-Identifier: GPL-2.0-or-later
"""`--host-kernel`: the kernel of the nested lab host is kept with the run, which is gone on with on it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from lab.campaign.nested import NestedHost
from lab.errors import UserError
from lab.guest.prepare import Bench
from lab.workflow.campaigns import Options, lab_host
from lab.workflow.run import Subject, start_run

NO_BENCH = cast("Bench", None)
"""Nothing is booted."""


@pytest.mark.parametrize(
    ("asked", "kept"),
    [("stock", "stock"), ("debian:6.12", "debian:6.12"), ("tarball:x.tar", "tarball:{}/x.tar")],
)
def test_the_run_keeps_it(asked: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a text that means the same in any folder; the host is made from the folder alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tar").touch()
    run = start_run(["smoke/boot"], Subject("stock"), Options(host_kernel=asked))
    assert run.read().host_kernel == kept.format(tmp_path)
    with lab_host(NO_BENCH, run) as host:
        assert isinstance(host, NestedHost)
        assert host.kernel == run.read().host_kernel


def test_a_name_that_is_none_is_told_before_there_is_a_run() -> None:
    """Not half an hour later, in the first trial that goes there."""
    with pytest.raises(UserError, match="unknown kernel source nonsense"):
        start_run(["smoke/boot"], Subject("stock"), Options(host_kernel="nonsense"))
