# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a dry run says that a guest would be run."""

from __future__ import annotations

import pytest

from lab.guest.accelerator import Choice
from lab.spec.models import Case, Machine
from lab.workflow.campaigns import TO_BE_PROBED, _where

PLAIN = Case(title="t", question="q", machines=("m",))
KVM = PLAIN.model_copy(update={"needs": ("kvm",)})
MACHINE = Machine(title="m")
EMULATED = Choice("tcg", "there is no /dev/kvm")
PERHAPS = Choice("kvm", TO_BE_PROBED)
SURE = Choice("kvm", "asked for")
NESTED = "in the nested lab host"


@pytest.mark.parametrize(
    ("executor", "case", "choice", "where"),
    [
        ("auto", PLAIN, EMULATED, "here"),
        ("auto", PLAIN, PERHAPS, "here"),
        ("auto", KVM, EMULATED, NESTED),
        ("auto", KVM, PERHAPS, f"here if Linux boots under its KVM, else {NESTED}"),
        ("auto", KVM, SURE, "here"),
        ("local", KVM, EMULATED, "here"),  # and there it is told that the host lacks KVM
        ("nested", PLAIN, EMULATED, NESTED),
        ("dask", KVM, EMULATED, "on a worker of the cluster"),
    ],
)
def test_where(executor: str, case: Case, choice: Choice, where: str) -> None:
    """As the executor would place it, but that KVM has not been tried."""
    assert _where(executor, case, MACHINE, choice) == where  # type: ignore[arg-type]
