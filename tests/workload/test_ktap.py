# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.results.models import Clock
from lab.workload.ktap import MAX_LINES, MAX_TEXT, Parsed, parse

HEAD = "KTAP version 1\n"


def results(parsed: Parsed) -> list[tuple[str, str, str]]:
    return [(check.name, check.result, check.detail) for check in parsed.checks]


def test_results_plan_and_metrics():
    """A right report gives its results and numbers, and no problem."""
    text = HEAD + (
        "1..3\n# metric total 68895395 insn\n# metric faults 192 count\n# metric share 0.5 count\n"
        "ok 1 mapped # 768 pages\nok 2 - populated # SKIP no MAP_POPULATE here\n"
        "# errno 12\nnot ok 3 unmapped\n"
    )
    parsed = parse(text, Clock.VIRTUAL)
    assert parsed.problems == ()
    assert parsed.plan == 3
    assert results(parsed) == [
        ("mapped", "ok", "768 pages"),
        ("populated", "skip", "no MAP_POPULATE here"),
        ("unmapped", "not ok", "errno 12"),
    ]
    assert [(m.metric, m.value, m.unit, m.clock) for m in parsed.measurements] == [
        ("total", 68895395.0, "insn", Clock.VIRTUAL),
        ("faults", 192.0, "count", Clock.COUNT),
        ("share", 0.5, "count", Clock.COUNT),
    ]


@pytest.mark.parametrize(
    ("clock", "unit", "good"),
    [
        (Clock.VIRTUAL, "insn", True),
        (Clock.VIRTUAL, "ns", False),
        (Clock.REAL, "ns", True),
        (Clock.REAL, "insn", False),
        (Clock.FUNCTIONAL, "ns", True),
        (Clock.FUNCTIONAL, "insn", False),
        (Clock.FUNCTIONAL, "bytes", True),
        (Clock.VIRTUAL, "seconds", False),
    ],
)
def test_units_belong_to_clocks(clock, unit, good):
    """A time in the wrong unit for the clock is a problem, not a number."""
    parsed = parse(f"{HEAD}1..1\n# metric total 5 {unit}\nok 1 a\n", clock)
    assert bool(parsed.measurements) is good
    assert parsed.problems == (() if good else (f"line 3: metric total: unit {unit} on the {clock} clock",))
    if good:
        assert parsed.measurements[0].clock == (Clock.COUNT if unit == "bytes" else clock)


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-1", "1e99", "9223372036854775808", "0x10", "1_000", "٣", "9" * 5000]
)
def test_absurd_numbers_are_problems(value):
    """Only a plain number from 0 to 2^63 is a measurement."""
    parsed = parse(f"{HEAD}1..1\n# metric total {value} count\nok 1 a\n", Clock.VIRTUAL)
    assert parsed.measurements == ()
    assert len(parsed.problems) == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("1..2\nok 1 a\n", "1 results where the plan says 2"),
        ("1..1\nok 1 a\nok 2 b\n", "2 results where the plan says 1"),
        ("1..2\nok 1 a\nok 1 b\n", "line 4: result 1 where 2 was expected"),
        ("1..1\n1..1\nok 1 a\n", "line 3: a second plan"),
        ("1..1\nok 1 a\nKTAP version 1\n", "line 4: a second version line"),
        ("1..1\nBail out! no device\nok 1 a\n", "line 3: Bail out! no device"),
        ("1..1\n# metric total 5\nok 1 a\n", "line 3: a metric line is `# metric <name> <value> <unit>`"),
        ("1..1\n# metric Total 5 count\nok 1 a\n", "line 3: `Total` cannot be a metric's name"),
        ("1..1\n# metric a 5 count\n# metric a 6 count\nok 1 a\n", "line 4: metric a is given twice"),
        ("1..1\n  1..2\n  ok 1 x\nok 1 a\n", "line 5: 1 results where the plan says 2"),
        ("  ok 1 x\n", "the output ends inside a subtest"),
        ("", "no result"),
    ],
)
def test_what_could_hide_a_result_is_a_problem(lines, problem):
    """Each way in which a report can be incomplete is told."""
    assert parse(HEAD + lines, Clock.VIRTUAL).problems == (problem,)


def test_without_version_line_results_count_but_are_not_trusted():
    """A lost first line must not hide a failure."""
    parsed = parse("not ok 1 a\n", Clock.VIRTUAL)
    assert results(parsed) == [("a", "not ok", "")]
    assert parsed.problems == ("no KTAP version line",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ok 1 a # SKIP why", ("a", "skip", "why")),
        ("not ok 1 a # SKIP why", ("a", "skip", "why")),
        ("not ok 1 a # XFAIL known", ("a", "skip", "XFAIL known")),
        ("ok 1 a # TODO later", ("a", "ok", "TODO later")),
        ("ok 1 a # TIMEOUT 45 s", ("a", "not ok", "TIMEOUT 45 s")),
        ("ok 1 a # ERROR", ("a", "not ok", "ERROR")),
        ("ok 1 a # timeout 45 s is the limit", ("a", "ok", "timeout 45 s is the limit")),
        ("ok 1", ("test 1", "ok", "")),
        ("not ok - a", ("a", "not ok", "")),
        ("ok", ("test 1", "ok", "")),
        ("not ok 1 - a\x1b[31m", ("a [31m", "not ok", "")),
    ],
)
def test_directives_and_forms(line, expected):
    """Every directive of KTAP, and the forms that TAP allows beside it."""
    parsed = parse(f"{HEAD}1..1\n{line}\n", Clock.VIRTUAL)
    assert results(parsed) == [expected]
    assert parsed.problems == ()


def test_subtests_are_named_by_their_parents():
    """Nested results, of KTAP and of kselftest, come before the parent that sums them up."""
    ktap = (
        "KTAP version 1\n1..1\n  KTAP version 2\n  #:ktap_test: x\n  1..2\n    KTAP version 1\n    1..1\n"
        "    ok 1 deep\n  ok 1 in\n  not ok 2 other\nnot ok 1 out\n"
    )
    kselftest = (
        "TAP version 13\n1..1\n# selftests: mm: t\n# TAP version 13\n# 1..1\n# not ok 1 case\n"
        "not ok 1 mm: t\n"
    )
    parsed = parse(ktap, Clock.VIRTUAL)
    assert [name for name, _, _ in results(parsed)] == ["out/in/deep", "out/in", "out/other", "out"]
    assert parsed.problems == ()
    parsed = parse(kselftest, Clock.VIRTUAL)
    assert [check[:2] for check in results(parsed)] == [("mm: t/case", "not ok"), ("mm: t", "not ok")]
    assert parsed.problems == ()


def test_a_comment_is_no_result():
    """Only behind a commented version line are commented results results."""
    assert len(parse(f"{HEAD}1..1\n# ok 1 done\nok 1 a\n", Clock.VIRTUAL).checks) == 1


def test_a_report_through_printk_loses_its_timestamps():
    """When the version line is stamped, all lines are; when not, a stamped line is the kernel's noise."""
    stamped = "[    1.000000] KTAP version 1\n[    1.000001] 1..1\n[    1.000002][  T12] ok 1 a\n"
    assert results(parse(stamped, Clock.VIRTUAL)) == [("a", "ok", "")]
    mixed = "KTAP version 1\n1..1\n[    1.000002] ok 1 noise\nok 1 a\n"
    assert results(parse(mixed, Clock.VIRTUAL)) == [("a", "ok", "")]


def test_skip_of_a_whole_report():
    """A plan of nothing with a reason is one skip."""
    parsed = parse("TAP version 13\n1..0 # SKIP no card\n", Clock.REAL)
    assert results(parsed) == [("all", "skip", "no card")]
    assert (parsed.plan, parsed.problems) == (0, ())


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
NOISE = st.sampled_from(
    [
        "[    1.234567] ok 1 from printk",
        "[   12.000000] BUG: kernel NULL pointer dereference",
        "random words",
        "okay then",
        "not okay 5",
        "1..x",
        "# a remark",
        "#: ktap_v2: metadata",
        "\x1b[0m\x00",
        "",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    checks=st.lists(st.tuples(NAMES, st.sampled_from(["ok", "not ok", "skip"])), min_size=1, max_size=8),
    metrics=st.dictionaries(NAMES, st.integers(0, 2**53), max_size=4),
    planned=st.booleans(),
    data=st.data(),
)
def test_round_trip_with_noise(checks, metrics, planned, data):
    """What is written is read back, whatever stands between the lines."""
    lines = [HEAD.strip()] + ([f"1..{len(checks)}"] if planned else [])
    lines += [f"# metric {name} {value} insn" for name, value in metrics.items()]
    for number, (name, result) in enumerate(checks, start=1):
        word = "ok" if result == "skip" else result
        lines.append(f"{word} {number} {name}" + (" # SKIP why" if result == "skip" else ""))
    for line in data.draw(st.lists(NOISE, max_size=6)):
        lines.insert(data.draw(st.integers(1, len(lines))), line)
    parsed = parse("\r\n".join(lines), Clock.VIRTUAL)
    assert [(check.name, check.result) for check in parsed.checks] == checks
    assert {m.metric: m.value for m in parsed.measurements} == metrics
    assert parsed.problems == ()
    assert parsed.plan == (len(checks) if planned else None)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="KTAP version12ok not-#.SKIP\n \t[]", max_size=200) | st.text(max_size=100))
def test_any_text_is_read_without_an_exception(text):
    """Hostile output is at worst a list of problems."""
    assert parse(text, Clock.VIRTUAL).problems is not None


@pytest.mark.parametrize(
    "piece", ["#", "# ", " ", "ok 1 ", "ok 1 a # ", "1..1 # SKIP ", "\n ok 1 a", "x\n", "\n# metric a 1"]
)
def test_large_output_is_cut_and_quick(piece):
    """The work is bounded by the size of the text, and a cut is told."""
    started = time.monotonic()
    parsed = parse(HEAD + piece * (2 * MAX_TEXT // len(piece)), Clock.VIRTUAL)
    assert time.monotonic() - started < 5
    assert "output cut at 1 MiB of 2 MiB" in parsed.problems
    assert len(parsed.problems) <= 50


def test_deep_nesting_is_bounded():
    """Ever deeper results join the deepest level that is kept."""
    text = HEAD + "".join(f"{' ' * depth}ok 1 a\n" for depth in range(1000)) + "ok 1 end\n"
    parsed = parse(text, Clock.VIRTUAL)
    assert len(parsed.checks) == 1000 + 1
    assert max(check.name.count("/") for check in parsed.checks) < 20


def test_many_lines_are_cut():
    """Lines beyond the bound are told and not read."""
    assert (
        f"output cut at {MAX_LINES} of {MAX_LINES + 3} lines"
        in parse(HEAD + "x\n" * (MAX_LINES + 1), Clock.REAL).problems
    )
