# SPDX-License-Identifier: GPL-2.0-or-later
"""`testcases/regressions/NAME.yaml`: it worked in one kernel and is broken in another, and how that shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lab.spec.answer import CheckName
from lab.spec.models import Declared, MetricName, Name

Text = Annotated[str, StringConstraints(pattern=r"^\S", max_length=2000)]
Line = Annotated[str, StringConstraints(pattern=r"^\S[^\n]*$", max_length=200)]
Link = Annotated[str, StringConstraints(pattern=r"^https?://[!-~]+$", max_length=300)]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12,40}$")]
SideName = Literal["good", "bad"]


class Change(Declared):
    """A commit of the kernel."""

    subject: Line
    commit: Commit | None = Field(None, description="at least 12 of its hex digits")
    version: Line | None = Field(None, description="what had it first, such as 6.11-rc1 or 6.12.95")


class Report(Declared):
    """What was said of it, and by whom."""

    kind: Literal["reported", "observed"] = Field(
        description="reported: somebody complained, or a fix says what it mends; observed: a change of "
        "behaviour that was measured and that nobody is known to have complained of"
    )
    says: Text = Field(description="what went wrong, in a sentence or two")
    links: tuple[Link, ...] = Field((), description="the mail, the bug, the thread")
    changelog: Line | None = Field(
        None, description="the entry of the package's changelog that names the fix"
    )
    cause: Change | None = Field(None, description="the commit that did it, where it is known")
    fix: Change | None = Field(None, description="the commit that mended it, where there is one")


class Side(Declared):
    """A kernel that has the regression, or one that has not."""

    kernel: Line = Field(description="as --kernel takes it: stock, debian:6.12.57, tree:PATH@REV, ...")
    series: Line | None = Field(
        None, description="applied to it: TOPIC/NAME of a shipped series, or an mbox, relative to this file"
    )
    why: Line | None = Field(None, description="why this version, where it stands for another")

    @property
    def label(self) -> str:
        """`6.12.57`, or `6.1 + prefault/pmd-size`."""
        name = self.kernel.removeprefix("debian:")
        return f"{name} + {self.series}" if self.series else name


class Sign(Declared):
    """One thing that a trial shows: how it ended, a check, a metric, or a complaint of the kernel."""

    outcome: Literal["PASS", "FAIL", "CRASH", "TIMEOUT"] | None = Field(None, description="how it ends")
    check: CheckName | None = Field(None, description="a KTAP result of the workload")
    result: Literal["ok", "not ok"] | None = Field(None, description="of the check")
    says: Line | None = Field(None, description="of the check: words of what it saw, such as EFAULT")
    metric: MetricName | None = Field(None, description="a number of the case")
    least: float | None = Field(None, description="of the metric: not below it")
    most: float | None = Field(None, description="of the metric: not above it")
    splat: Line | None = Field(
        None, description="words of the title of a complaint in the kernel's log: WARNING in vgem_fence"
    )
    seen: bool | None = Field(None, description="of the splat: false: there must be none of that title")

    @property
    def problems(self) -> Iterable[tuple[str, str]]:
        """Key and sentence for all that is wrong with the keys taken together."""
        given = [name for name in _BESIDE if getattr(self, name) is not None]
        if len(given) != 1:
            yield given[0] if given else "", f"needs exactly one of: {', '.join(_BESIDE)}"
            return
        allowed = _BESIDE[given[0]]
        for key in type(self).model_fields:
            if getattr(self, key) is not None and key != given[0] and key not in allowed:
                yield key, f"'{key}' says nothing of '{given[0]}'"
        if self.check is not None and self.result is None:
            yield "check", "says nothing: which result, ok or not ok?"
        if self.metric is not None and self.least is None and self.most is None:
            yield "metric", "says nothing: give 'least', 'most' or both"
        if self.least is not None and self.most is not None and self.least > self.most:
            yield "most", f"nothing is at least {self.least:g} and at most {self.most:g}"

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the metric."""
        return (
            float("-inf") if self.least is None else self.least,
            float("inf") if self.most is None else self.most,
        )

    def excludes(self, other: Sign) -> bool:
        """Can no trial show both?"""
        if self.check is not None and self.check == other.check:
            return self.result != other.result
        if self.metric is not None and self.metric == other.metric:
            (low, high), (least, most) = self.bounds, other.bounds
            return high < least or most < low
        if self.splat is not None and other.splat is not None:
            # What is seen with longer words is seen with shorter ones as well.
            mine, theirs = self.seen is not False, other.seen is not False
            shown, absent = (self, other) if mine else (other, self)
            return mine != theirs and str(absent.splat) in str(shown.splat)
        return self.outcome is not None and other.outcome is not None and self.outcome != other.outcome


_BESIDE: dict[str, tuple[str, ...]] = {
    "outcome": (),
    "check": ("result", "says"),
    "metric": ("least", "most"),
    "splat": ("seen",),
}
"""What a sign can be about, and the keys that say more of each."""


class Shows(Declared):
    """How good and bad are told from each other. All signs of a side must hold."""

    good: tuple[Sign, ...] = Field(min_length=1)
    bad: tuple[Sign, ...] = Field(min_length=1)


class Regression(Declared):
    """What `lab repro` confirms."""

    title: Line = Field(description="one line, for tables")
    report: Report
    good: tuple[Side, ...] = Field(
        min_length=1, description="kernels without it; the first is the default, --versions all takes all"
    )
    bad: tuple[Side, ...] = Field(min_length=1, description="kernels with it, in the same way")
    case: Line = Field(description="TOPIC/CASE, or the YAML file of a case, relative to this file")
    machine: Name = Field(description="where the case is run")
    shows: Shows

    def sides(self, name: SideName) -> tuple[Side, ...]:
        return self.good if name == "good" else self.bad

    def signs(self, name: SideName) -> tuple[Sign, ...]:
        return self.shows.good if name == "good" else self.shows.bad
