# SPDX-License-Identifier: GPL-2.0-or-later
"""A regression as a mail in the layout of the kernel test robot. It is written, never sent: a person reads
it, fills in what is in <angle brackets>, and takes the responsibility.

    Subject: [TREE] COMMIT: VERDICT METRIC
    greeting, what was noticed, where; trailers to fill in; the table; how to repeat it; a line for regzbot
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lab.compare.words import amount
from lab.report.clean import one_line, plain, visible
from lab.report.layout import paragraph

COLUMNS = 75
"""Of prose and tables; commands are not broken, so that they can be copied."""

WIDEST = 79
"""Of a line of the table with the name of its metric."""

SUBJECT = 100
"""Characters of a subject; list archives cut longer ones."""

MAX_ROWS = 60

_OF_GIT = re.compile(r"(?:git|tree):([^@]+)(?:@(.+))?")
_UPSTREAM = re.compile(r"(\d{1,4}\.\d{1,5}(?:\.\d{1,5})?)(?:[-~](rc\d{1,3}))?")


@dataclass(frozen=True)
class Kernel:
    """One of the two kernels."""

    name: str  # "debian:6.12.43-1", "git:URL@v6.12"
    version: str = ""  # "6.12.43-1"
    commit: str = ""  # 40 hex digits, if it was built from one
    subject: str = ""  # of the commit or of the series

    @property
    def short(self) -> str:
        """What fits into the head of a table: the commit, else the version, else the series."""
        return self.commit[:12] or self.version or self.name.rpartition(" + ")[2].partition(" (")[0]

    @property
    def told(self) -> str:
        """One line: the commit with its subject or the version, else the name."""
        if not self.commit:
            return self.name
        about = self.subject or self.version
        return f'{self.commit[:12]} ("{about}")' if about else self.commit[:12]


@dataclass(frozen=True)
class Evidence:
    """One line of the table: a number on both kernels, or how often something was seen."""

    what: str  # "prefault/first-touch.max"
    good: str
    bad: str
    change: str  # "+14.1%", "x15.8", "" where there is none


@dataclass(frozen=True)
class Mail:
    """All that the mail says."""

    tree: str  # what the kernels are of: "debian:6.12"
    verdict: str  # "x15.8 regression", "CRASH"
    metric: str  # or the complaint: "prefault/first-touch.max"
    good: Kernel
    bad: Kernel
    evidence: Sequence[Evidence]
    details: Sequence[tuple[str, str]]  # "testcase": "prefault/first-touch", "machine": "qxl", ...
    log: Sequence[str] = ()  # what the kernel said
    reproduce: Sequence[str] = ()  # commands
    bisect: str = ""  # the command that finds the commit; "" if it is found, or cannot be
    notes: Sequence[str] = ()
    lab_version: str = ""

    @property
    def subject(self) -> str:
        """The subject line, without "Subject:"."""
        text = f"[{self.tree}] {self.bad.short}: {self.verdict} {self.metric}"
        return plain(one_line(text, limit=SUBJECT))


def mail_text(mail: Mail) -> str:
    """The mail as plain ASCII, beginning with its subject line."""
    parts = [
        [f"Subject: {mail.subject}", "To: <the author, the maintainers, the list>"],
        ["Greeting,"],
        _noticed(mail),
        _commits(mail),
        [_fact(name, value) for name, value in mail.details if value],
        [line for note in mail.notes for line in paragraph(note, width=COLUMNS)],
        _trailers(),
        ["Details are as below:", "-" * COLUMNS + ">"],
        _table(mail),
        ["What the kernel said:", "", *(f"  {plain(_as_it_is(line))}" for line in mail.log)]
        if mail.log
        else [],
        ["To reproduce:", "", *(f"  {plain(one_line(line, limit=4000))}" for line in mail.reproduce)]
        if mail.reproduce
        else [],
        ["To find the commit:", "", f"  {plain(one_line(mail.bisect, limit=4000))}"] if mail.bisect else [],
        regzbot(mail.good, mail.bad),
        _disclaimer(mail),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _as_it_is(line: str) -> str:
    """A line of a log, with its columns."""
    return visible(line, limit=300).replace("\n", " ").expandtabs().rstrip()


def tree_name(kernel: str) -> str:
    """What a kernel is of, as short as a subject needs it.

    >>> tree_name("git:https://git.kernel.org/torvalds/linux.git@master"), tree_name("debian:6.12")
    ('linux:master', 'debian:6.12')
    """
    match = _OF_GIT.fullmatch(kernel)
    if match is None:
        return kernel
    place = match[1].rstrip("/").rpartition("/")[2].removesuffix(".git")
    return f"{place}:{match[2]}" if match[2] else place


def _noticed(mail: Mail) -> list[str]:
    article = "an" if mail.verdict[:1].lower() in "aeiou" else "a"
    return paragraph(f"FYI, we noticed {article} {mail.verdict}: {mail.metric}, due to:", width=COLUMNS)


def _commits(mail: Mail) -> list[str]:
    bad, good = mail.bad, mail.good
    found = [_fact("commit" if bad.commit else "kernel", bad.commit or bad.name)]
    if bad.subject:
        found.append(_fact("subject", f'"{bad.subject}"'))
    if bad.commit:
        found.append(_fact("kernel", bad.name))
    return [*found, _fact("good", f"{good.commit or good.name}"), _fact("tree", mail.tree)]


def _fact(name: str, value: str) -> str:
    return plain(f"{name}: {one_line(value, limit=300)}")


def _trailers() -> list[str]:
    return [
        *paragraph(
            "If you fix the issue in a separate patch/commit (i.e. not just a new version of the same"
            " patch/commit), kindly add following tags",
            width=COLUMNS,
        ),
        "| Reported-by: <name> <address>",
        "| Closes: <link to this mail in the list's archive>",
    ]


def _table(mail: Mail) -> list[str]:
    """The two kernels in the head, then a line for each number: good, change, bad, what."""
    shown = list(mail.evidence[:MAX_ROWS])
    good, bad = (plain(one_line(kernel.short, limit=22)) for kernel in (mail.good, mail.bad))
    left = max([len(good), 12, *(len(row.good) for row in shown)])
    middle = max([9, *(len(row.change) for row in shown)])
    right = max([len(bad), 12, *(len(row.bad) for row in shown)])
    lines = [
        "commit:" if mail.bad.commit else "kernel:",
        *(f"  {plain(one_line(kernel.told, limit=70))}" for kernel in (mail.good, mail.bad)),
        "",
        f"{good:>{left}} {'':{middle}} {bad:>{right}}".rstrip(),
        f"{'-' * left} {'-' * (middle + right + 1)}",
        f"{'good':>{left}} {'%change':>{middle}} {'bad':>{right}}",
    ]
    for row in shown:
        what = plain(one_line(row.what, limit=max(24, WIDEST - left - middle - right - 4)))
        lines.append(f"{row.good:>{left}} {row.change:>{middle}} {row.bad:>{right}}  {what}")
    if len(mail.evidence) > MAX_ROWS:
        lines.append(f"and {len(mail.evidence) - MAX_ROWS} more")
    return lines


def regzbot(good: Kernel, bad: Kernel) -> list[str]:
    """The line by which regzbot tracks a regression, in a paragraph of its own; a remark if there is none to
    give, because the two kernels are the same release and no commits are known."""
    names = _range(good, bad)
    if names is None:
        return ["(for regzbot, fill in: #regzbot introduced: <commit, or good..bad>)"]
    return [f"#regzbot introduced: {names[0]}..{names[1]}"]


def _range(good: Kernel, bad: Kernel) -> tuple[str, str] | None:
    if good.commit and bad.commit and good.commit != bad.commit:
        return good.commit[:12], bad.commit[:12]
    old, new = upstream_tag(good.version), upstream_tag(bad.version)
    return (old, new) if old and new and old != new else None


def upstream_tag(version: str) -> str:
    """The tag of a release in the kernel's repositories; "" if the version is of none.

    >>> upstream_tag("6.12.43-1"), upstream_tag("7.3~rc2-1~exp1"), upstream_tag("next")
    ('v6.12.43', 'v7.3-rc2', '')
    """
    match = _UPSTREAM.match(version)
    if match is None:
        return ""
    return f"v{match[1]}-{match[2]}" if match[2] else f"v{match[1]}"


def _disclaimer(mail: Mail) -> list[str]:
    by = f" {mail.lab_version}" if mail.lab_version else ""
    return paragraph(
        f"Disclaimer: results are measured in virtual machines by faultlab{by}, and given for information."
        " Guest instructions are a cost, not a time.",
        width=COLUMNS,
    )


def number_row(what: str, good: float | None, bad: float | None, change: float | None) -> Evidence:
    """A line of numbers; a change from nothing has no percentage."""
    return Evidence(what, amount(good), amount(bad), percent_change(change))


def percent_change(change: float | None) -> str:
    """As the robot writes it; large ones as a factor.

    >>> percent_change(0.141), percent_change(14.8), percent_change(None)
    ('+14.1%', 'x15.8', '')
    """
    if change is None:
        return ""
    if change == 0:
        return "0.0%"
    return f"x{change + 1:.1f}" if change >= 1 else f"{100 * change:+.1f}%"
