# SPDX-License-Identifier: GPL-2.0-or-later
"""cover.txt: a block for a cover letter. What was compared, on what, the table, how to reproduce."""

from __future__ import annotations

import shlex

from lab.compare.words import counted
from lab.report.clean import plain
from lab.report.findings import Findings
from lab.report.layout import paragraph
from lab.report.text import comparison_lines
from lab.results.models import Clock

CLOCKS = {
    Clock.VIRTUAL: "guest instructions under QEMU -icount (exact; a cost, not a time)",
    Clock.REAL: "nanoseconds under KVM, boots in interleaved pairs",
    Clock.FUNCTIONAL: "wall time under emulation, not judged",
    Clock.COUNT: "counts",
}


def cover_text(findings: Findings) -> str:
    """At most 75 columns of prose and a table; plain ASCII, to be pasted above the diffstat."""
    base, patched = (findings.kernel(role) for role in ("base", "patched"))
    names = f"{base.name} against the same with this series" if base and patched else "nothing was compared"
    environment = findings.environments[0] if findings.environments else None
    where = environment.qemu_version.removeprefix("QEMU emulator ") if environment else "no guest"
    clocks = "; ".join(CLOCKS[Clock(clock)] for clock in findings.clocks)
    boots = counted(len(findings.current), "boot")
    head = (
        f"Tested with faultlab {findings.record.lab_version}: {names}, machine {', '.join(findings.machines)}"
    )
    lines = [
        *paragraph(f"{head}, QEMU {where}, {boots}. Unit: {clocks}."),
        "",
        *comparison_lines(findings),
        "",
        *paragraph(f"Verdict: {findings.verdict.verdict}."),
        *(
            line
            for reason in findings.verdict.reasons[:6]
            for line in paragraph(reason, first="  ", rest="    ")
        ),
        "",
        f"Reproduce: {plain(shlex.join(('lab', *findings.record.command)))}",
    ]
    return "\n".join(lines) + "\n"
