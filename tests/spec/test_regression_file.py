# SPDX-License-Identifier: GPL-2.0-or-later
"""Regressions: what a file may say, what is wrong with one, and what trials make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.compare.repro import confirm, judge_repro
from lab.errors import SpecError, UserError
from lab.report.repro import repro_data, repro_lines
from lab.results.models import Check, Clock, Measurement, Outcome, Splat, Trial
from lab.results.repro import ReproRecord, WantedKernel, WantedRegression, WantedSign
from lab.spec.catalog import Catalog
from lab.spec.regression import Sign
from lab.spec.regression_file import find_regression, load_regression, regressions
from lab.spec.series_index import shipped_indexes
from lab.workflow.repro_plan import plan_repro

SHIPPED = Catalog.load()
INDEXES = shipped_indexes()
GOOD = """\
title: it worked
report:
  kind: reported
  says: it does not any more
  links: ["https://example.org/1"]
  cause: {commit: 0ddd2ae586d2, subject: "drm/ttm: increase ttm pre-fault value", version: 6.11-rc1}
good:
  - {kernel: "debian:6.1"}
bad:
  - {kernel: "debian:6.1", series: prefault/pmd-size, why: it has the change}
  - {kernel: stock, series: prefault/pmd-size}
case: prefault/sparse-touch
machine: qxl
shows:
  good: [{metric: touch_max, most: 5}]
  bad: [{metric: touch_max, least: 6}, {splat: WARNING, seen: false}]
"""


def load(folder: Path, text: str, name: str = "it.yaml") -> Any:
    path = folder / name
    path.write_text(text)
    return load_regression(path, SHIPPED, INDEXES)


@pytest.mark.parametrize("name", regressions(SHIPPED))
def test_shipped_ones_are_right(name: str) -> None:
    """Each is read, and names only kernels that everybody can get; its table row is in the README."""
    loaded = find_regression(SHIPPED, name)
    sides = (*loaded.regression.good, *loaded.regression.bad)
    assert all(side.kernel.startswith(("debian:", "stock")) for side in sides)
    assert loaded.regression.machine in SHIPPED.machines
    assert f"`{name}`" in (SHIPPED.root / "regressions/README.md").read_text()


def test_catalogue_is_no_topic() -> None:
    """No regression is taken for a case, and there are the eleven that were asked for at least."""
    assert len(regressions(SHIPPED)) >= 11
    assert not [name for name in SHIPPED.cases if name.startswith("regressions/")]
    assert not SHIPPED.problems


def test_good_one_is_read(tmp_path: Path) -> None:
    """With its case, its sides and its signs."""
    loaded = load(tmp_path, GOOD)
    assert (loaded.name, loaded.case.name) == ("it", "prefault/sparse-touch")
    assert loaded.regression.bad[0].label == "6.1 + prefault/pmd-size"
    assert loaded.regression.shows.bad[1].seen is False


WRONG = [
    ("kind: reported", "kind: guessed", "must be 'reported' or 'observed'"),
    ('  links: ["https://example.org/1"]\n', "", "reported where?"),
    ("commit: 0ddd2ae586d2", "commit: 0ddd", "must match"),
    ("prefault/sparse-touch", "prefault/sparse", "there is no case prefault/sparse"),
    ("prefault/sparse-touch", "other.yaml", "cannot read"),
    ("machine: qxl", "machine: qxxl", "did you mean qxl"),
    (
        '- {kernel: "debian:6.1"}',
        '- {kernel: "debain:6.1"}',
        "unknown kernel `debain:6.1`; did you mean debian:",
    ),
    ("{kernel: stock, series: prefault/pmd-size}", '{kernel: "debian:6.1"}', "named as good and as bad"),
    (
        "{kernel: stock, series: prefault/pmd-size}",
        '{kernel: "debian:6.1", series: prefault/pmd-size}',
        "twice",
    ),
    (
        "series: prefault/pmd-size, why",
        "series: prefault/pmd-sise, why",
        "there is no series prefault/pmd-sise",
    ),
    ("series: prefault/pmd-size, why", "series: here.mbox, why", "there is no file"),
    (
        '"debian:6.1", series: prefault',
        '"debian:6.16", series: prefault',
        "is for 6.1, 6.12, 7.2, 7.3, not 6.16",
    ),
    (
        "metric: touch_max, most",
        "metric: touch_mox, most",
        "declares no metric touch_mox; did you mean touch_max",
    ),
    ("{metric: touch_max, most: 5}", "{metric: touch_max}", "says nothing: give 'least'"),
    ("{metric: touch_max, most: 5}", "{check: content}", "which result"),
    ("{metric: touch_max, most: 5}", "{most: 5}", "needs exactly one of: outcome, check, metric, splat"),
    (
        "{metric: touch_max, most: 5}",
        "{metric: touch_max, most: 5, seen: true}",
        "'seen' says nothing of 'metric'",
    ),
    ("most: 5}", "most: 5, least: 9}", "nothing is at least 9 and at most 5"),
    ("most: 5}", "most: 6}", "one kernel could be good and bad"),
    ("title: it worked", "titel: it worked", "unknown key 'titel'; did you mean title?"),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG)
def test_mistake_is_told_at_its_place(tmp_path: Path, old: str, new: str, words: str) -> None:
    """As FILE:LINE:COLUMN: TEXT, and the line is the one that was changed, or one that belongs to it."""
    assert old in GOOD
    with pytest.raises(SpecError) as told:
        load(tmp_path, GOOD.replace(old, new, 1))
    (problem,) = [one for one in told.value.problems if words in one] or [str(told.value)]
    assert words in problem
    where = problem.partition("it.yaml:")[2].split(":")
    assert where[0].isdecimal()
    assert where[1].isdecimal()


def test_name_must_be_one(tmp_path: Path) -> None:
    """A file name is the name of a role and of folders; `new` is a command."""
    for name in ("Ä.yaml", "new.yaml", "two words.yaml"):
        with pytest.raises(SpecError, match="is no name for a regression"):
            load(tmp_path, GOOD, name)


def test_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError) as told:
        find_regression(SHIPPED, "kvm-ttm-bow")
    assert "did you mean kvm-ttm-bo" in told.value.hint


def test_plan_has_a_role_for_each_kernel() -> None:
    """The first of each side, or all of them; the series is kept for the role that needs it."""
    planned = plan_repro(["ttm-pmd-prefault"], everything=False, every_version=False)
    assert list(planned.subjects) == ["ttm-pmd-prefault.good", "ttm-pmd-prefault.bad"]
    assert [trial.role for trial in planned.trials] == list(planned.subjects)
    assert planned.subjects["ttm-pmd-prefault.bad"].series == "prefault/pmd-size"
    assert len(planned.parts["ttm-pmd-prefault.bad"]) == 1
    every = plan_repro(["ttm-pmd-prefault"], everything=False, every_version=True)
    assert [one.label for one in every.record.regressions[0].good] == ["6.1", "6.12"]
    assert len(every.trials) == 4
    assert len({trial.key for trial in every.trials}) == 4


# ---- what trials make of it ---------------------------------------------------------------------


def wanted(good: list[WantedSign], bad: list[WantedSign]) -> ReproRecord:
    one = WantedRegression(
        name="it",
        title="t",
        kind="reported",
        case="topic/case",
        machine="qxl",
        good=(WantedKernel(role="it.good", label="6.1"),),
        bad=(WantedKernel(role="it.bad", label="6.12"),),
        good_signs=tuple(good),
        bad_signs=tuple(bad),
    )
    return ReproRecord(regressions=(one,))


def trial(role: str, outcome: Outcome = Outcome.PASS, stage: str = "done", **told: Any) -> Trial:
    return Trial(
        key=f"1-{role}",
        number=1,
        case="topic/case",
        case_digest="",
        kernel="k",
        role=role,
        machine="qxl",
        clock=Clock.VIRTUAL,
        outcome=outcome,
        stage=stage,
        **told,
    )


OK = Check(name="works", result="ok", detail="all of it")
BROKEN = Check(name="works", result="not ok", detail="EFAULT after 1 page")
SIGNS = (
    [WantedSign(check="works", result="ok")],
    [WantedSign(check="works", result="not ok", says="EFAULT")],
)


def faults(value: float) -> Measurement:
    return Measurement(metric="faults", value=value, unit="count", clock=Clock.COUNT)


def splat(title: str) -> Splat:
    return Splat(kind="WARNING", title=title, line=1, excerpt="")


@pytest.mark.parametrize(
    ("bad", "answer", "words"),
    [
        (trial("it.bad", Outcome.FAIL, checks=(BROKEN,)), True, "works: not ok, EFAULT"),
        (trial("it.bad", checks=(OK,)), False, "works: ok"),
        (
            trial("it.bad", Outcome.FAIL, checks=(BROKEN.model_copy(update={"detail": "ENOMEM"}),)),
            False,
            "works: not ok",
        ),
        (trial("it.bad", Outcome.CRASH, "run", reason="panic"), False, "no check works"),
        (trial("it.bad", Outcome.SKIP, "plan", reason="no driver"), None, "SKIP"),
        (trial("it.bad", Outcome.ERROR, "run", reason="QEMU"), None, "ERROR"),
        (trial("it.bad", Outcome.CRASH, "boot", reason="panic"), None, "CRASH in boot"),
    ],
)
def test_a_check_tells_good_from_bad(bad: Trial, answer: bool | None, words: str) -> None:
    """Only what ran can contradict; what did not says nothing."""
    (found,) = confirm(wanted(*SIGNS), [trial("it.good", checks=(OK,)), bad])
    assert found.confirmed is answer
    assert found.bad[0].words == words
    verdict = judge_repro([found])
    assert verdict.exit_code == {True: 0, False: 1, None: 125}[answer]
    assert bool(found.bad[0].told) is (answer is not True)
    assert "it" in "\n".join(repro_lines([found]))
    assert repro_data([found])[0]["confirmed"] is answer


def test_both_sides_are_looked_at() -> None:
    """Good and bad swapped contradict twice."""
    swapped = [trial("it.good", Outcome.FAIL, checks=(BROKEN,)), trial("it.bad", checks=(OK,))]
    (found,) = confirm(wanted(*SIGNS), swapped)
    assert [seen.as_stated for seen in found.seen] == [False, False]
    reasons = judge_repro([found]).reasons
    assert reasons[0] == "0 of 1 regression confirmed"
    assert "good kernel 6.1: works: not ok: EFAULT after 1 page; wanted: ok" in reasons[1]
    assert "bad kernel 6.12: works: ok: all of it; wanted: not ok with the words `EFAULT`" in reasons[2]


def test_other_signs() -> None:
    """A metric between bounds, a complaint that is there or not, an outcome; all of a side must hold."""
    signs = (
        [WantedSign(metric="faults", most=64), WantedSign(splat="WARNING in f", seen=False)],
        [
            WantedSign(metric="faults", least=1000),
            WantedSign(splat="WARNING in f"),
            WantedSign(outcome="FAIL"),
        ],
    )
    good = trial("it.good", measurements=(faults(32),))
    bad = trial("it.bad", Outcome.FAIL, measurements=(faults(16384),), splats=(splat("WARNING in f_x"),))
    (found,) = confirm(wanted(*signs), [good, bad])
    assert found.confirmed is True
    assert found.bad[0].words == "faults 16,384; WARNING in f; FAIL"
    assert found.bad[0].main == "faults 16,384"
    noisy = good.model_copy(update={"splats": (splat("WARNING in f"),)})
    (found,) = confirm(wanted(*signs), [noisy, bad])
    assert found.confirmed is False
    silent = bad.model_copy(update={"measurements": ()})
    (found,) = confirm(wanted(*signs), [good, silent])
    assert found.bad[0].main == "faults n/a"
    assert found.bad[0].told.startswith("bad kernel 6.12: faults n/a (FAIL); wanted: at least 1,000")


def test_kernel_that_is_not_to_be_had() -> None:
    """It is told, and nothing is confirmed or contradicted; the last attempt of a trial counts."""
    record = wanted(*SIGNS).model_copy(update={"lacking": {"it.bad": "no suite has it"}})
    first = trial("it.good", Outcome.ERROR, attempt=1)
    second = trial("it.good", checks=(OK,), attempt=2)
    (found,) = confirm(record, [second, first])
    assert found.good[0].as_stated is True
    assert (found.confirmed, found.bad[0].words) == (None, "no kernel")
    assert judge_repro([found]).reasons[1] == "it: cannot tell: bad kernel 6.12: no suite has it"
    assert judge_repro([]).exit_code == 125


bounds = st.one_of(st.none(), st.integers(-5, 5).map(float))
metric_signs = st.builds(Sign, metric=st.just("faults"), least=bounds, most=bounds).filter(
    lambda sign: not list(sign.problems)
)
check_signs = st.builds(
    Sign, check=st.sampled_from(["works", "other"]), result=st.sampled_from(["ok", "not ok"])
)
outcome_signs = st.builds(Sign, outcome=st.sampled_from(["PASS", "FAIL", "CRASH"]))
splat_signs = st.builds(
    Sign, splat=st.sampled_from(["WARNING", "WARNING in f"]), seen=st.sampled_from([True, False])
)


@given(
    st.one_of(metric_signs, check_signs, outcome_signs, splat_signs),
    st.one_of(metric_signs, check_signs, outcome_signs, splat_signs),
    st.integers(-6, 6),
    st.sampled_from([("works", "ok"), ("works", "not ok"), ("other", "ok")]),
    st.sampled_from([Outcome.PASS, Outcome.FAIL, Outcome.CRASH]),
    st.sampled_from([(), ("WARNING in f",), ("WARNING in g",)]),
)
def test_what_excludes_cannot_be_shown_at_once(
    one: Sign, other: Sign, value: int, check: tuple[str, Any], outcome: Outcome, titles: tuple[str, ...]
) -> None:
    """If two signs exclude each other, no trial shows both: such a check can fail."""
    seen = trial(
        "it.good",
        outcome,
        measurements=(faults(value),),
        checks=(Check(name=check[0], result=check[1]),),
        splats=tuple(splat(title) for title in titles),
    )
    signs = [
        WantedSign.model_validate({k: v for k, v in sign.model_dump().items() if v is not None})
        for sign in (one, other)
    ]
    (found,) = confirm(wanted(signs, signs), [seen])
    if one.excludes(other):
        assert other.excludes(one)
        assert found.good[0].as_stated is False
