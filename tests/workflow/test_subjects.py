# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run folder says of its kernels, so that the run can be gone on with."""

from __future__ import annotations

import pytest

from lab.errors import UserError
from lab.results.models import RunRecord, Subject
from lab.results.runfolder import RunFolder
from lab.workflow.subjects import subject_of

STOCK = Subject(kernel="stock")


def test_kernel_that_the_run_does_not_name() -> None:
    """A folder of an older lab, or of a stranger, may lack it: told in a sentence, with what to do."""
    record = RunRecord(
        id="r", workflow="run", command=(), lab_version="0", created="", subjects={"base": STOCK}
    )
    run = RunFolder.create(record)
    assert subject_of(run, "base") == STOCK
    with pytest.raises(UserError, match="does not say which kernel `kernel` is"):
        subject_of(run, "kernel")
