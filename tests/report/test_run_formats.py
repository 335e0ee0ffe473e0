# SPDX-License-Identifier: GPL-2.0-or-later
"""KCIDB, KTAP, CSV and mail: what other programs read them with finds in them what the run says."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from kcidb_io.schema import LATEST
from made_up import (
    KERNELS,
    folder,
    measurements,
    nasty_run,
    plan,
    pmd_size_run,
    record,
    trial,
)

from lab.compare.verdict import reject
from lab.errors import SeriesError, UserError
from lab.report.findings import examine
from lab.report.kcidb import kcidb, kcidb_json
from lab.report.ktap import ktap_text
from lab.report.mail import Kernel, Mail, mail_text, regzbot
from lab.report.measurements import COLUMNS, measurements_csv
from lab.report.run_mail import run_mail
from lab.report.write import formatted
from lab.results.models import Check, Clock, Expected, Outcome, Subject
from lab.results.night import NightRecord, write_night
from lab.workload.ktap import parse

CASE = "prefault/first-touch"
RUNS = [pmd_size_run, nasty_run]


def every_outcome(path: Path):
    """One trial of each kind, one that is missing, checks and a number that is none."""
    planned = plan(*((f"smoke/boot-{number}", "base") for number in range(8)))
    known = Expected(kind="fail", reason="not fixed", where="fails.txt:1", met=True)
    ends = [
        {"outcome": Outcome.PASS, "numbers": {"faults": 4, "total": 987654321, "max": 1e300}},
        {"outcome": Outcome.FAIL, "reason": "a check failed"},
        {"outcome": Outcome.CRASH, "reason": "panic # not a directive"},
        {"outcome": Outcome.TIMEOUT, "reason": "no answer", "started": "2026-11-21T06:12:51+00:00"},
        {"outcome": Outcome.SKIP, "reason": "no such device", "environment": None, "started": "soon"},
        {"outcome": Outcome.ERROR, "reason": "QEMU is not there", "seconds": 987654321},
        {"outcome": Outcome.FAIL, "reason": "known", "expected": known},
    ]
    checks = (
        Check(name="model", result="ok"),
        Check(name="content # TODO", result="not ok", detail="3 of 8"),
        Check(name="swap", result="skip", detail="none"),
    )
    trials = [
        trial(one, end.pop("numbers", None), checks=checks if number == 1 else (), **end)
        for number, (one, end) in enumerate(zip(planned, ends, strict=False))
    ]
    made = folder(path, record(planned), trials)
    for one in made.path.glob("trials/*/trial.json"):  # what a Trial cannot be made to say, a file can
        text = one.read_text().replace('"seconds": 987654321.0', '"seconds": Infinity')
        one.write_text(text.replace("987654321.0", "NaN"))
    return made


def one_object_for_each_id(told) -> None:
    for kind in ("checkouts", "builds", "tests"):
        ids = [one["id"] for one in told[kind]]
        assert len(ids) == len(set(ids)), kind


@pytest.mark.parametrize("make", [*RUNS, every_outcome])
def test_kcidb_is_valid(tmp_path: Path, make) -> None:
    """Against the schema that KernelCI validates with."""
    told = json.loads(kcidb_json(examine(make(tmp_path))))
    LATEST.validate(told)
    one_object_for_each_id(told)
    builds = {one["id"]: one for one in told["builds"]}
    checkouts = {one["id"] for one in told["checkouts"]}
    assert {one["checkout_id"] for one in builds.values()} <= checkouts
    assert {one["build_id"] for one in told["tests"]} <= set(builds)


def test_kcidb_validation_is_strict(tmp_path: Path) -> None:
    """The check can fail: a path with a slash, a null, a word that is no status."""
    for field, value in (("path", "a/b"), ("comment", None), ("status", "CRASH"), ("start_time", "soon")):
        told = kcidb(examine(pmd_size_run(tmp_path / field)))
        told["tests"][0][field] = value
        assert not LATEST.is_valid(told), field


def test_kcidb_says_what_was_seen(tmp_path: Path) -> None:
    told = kcidb(examine(every_outcome(tmp_path)))
    boots = {one["id"].rpartition(":")[2]: one for one in told["tests"] if one["status"] != "DONE"}
    ends = [boots[key]["status"] for key in sorted(boots) if key.startswith("00")]
    assert ends == ["PASS", "FAIL", "FAIL", "FAIL", "SKIP", "MISS", "FAIL", "MISS"]
    assert "known and expected" in boots["007-smoke-boot-6-base"]["comment"]
    numbers = {one["path"]: one["number"]["value"] for one in told["tests"] if one["status"] == "DONE"}
    assert numbers == {"faultlab.smoke.boot-0.faults": 4, "faultlab.smoke.boot-0.max": 1e300}
    assert [one["path"] for one in told["tests"] if ":check:" in one["id"]] == [
        "faultlab.smoke.boot-1.content_TODO"
    ]


def test_kcidb_of_commits_and_series(tmp_path: Path) -> None:
    """A commit is named where the kernel is of one; that there are no patches is said only where it is so."""
    commit = "c" * 40
    planned = plan((CASE, "base"), (CASE, "patched"))
    subjects = {
        "base": Subject(kernel="git:https://git.example.org/linux.git@v6.12"),
        "patched": Subject(kernel="git:https://git.example.org/linux.git@v6.12", series="pmd-size"),
    }
    made = folder(tmp_path, record(planned, subjects=subjects), [trial(one) for one in planned])
    for role, name in (("base", ""), ("patched", " + pmd-size")):
        kernel = KERNELS[role].model_copy(update={"name": subjects["base"].kernel + name, "commit": commit})
        made.add_kernel(kernel)
    told = kcidb(examine(made), "mylab")
    LATEST.validate(told)
    base, patched = told["checkouts"]
    assert base["origin"] == "mylab"
    assert base["git_commit_hash"] == patched["git_commit_hash"] == commit
    assert base["git_repository_url"] == "https://git.example.org/linux.git"
    assert base["patchset_hash"] == ""
    assert "patchset_hash" not in patched
    assert patched["misc"]["series"] == "pmd-size"


@pytest.mark.parametrize(("stage", "valid"), [("apply", False), ("build", None)])
def test_kcidb_of_a_rejected_series(tmp_path: Path, stage: str, valid: bool | None) -> None:
    error = SeriesError("patch 1 does not fit", stage=stage)
    subjects = {"base": Subject(kernel="stock"), "patched": Subject(kernel="stock", series="mine")}
    run = record((), verdict=reject(error), kernels={"base": KERNELS["base"].id}, subjects=subjects)
    told = kcidb(examine(folder(tmp_path, run, [])))
    LATEST.validate(told)
    assert [one["status"] for one in told["builds"]] == ["PASS", "FAIL"]
    assert told["checkouts"][1].get("valid") is valid


def test_kcidb_of_a_night_that_lacks_kernels(tmp_path: Path) -> None:
    planned = plan((CASE, "one"), (CASE, "two"), (CASE, "three"))
    made = folder(
        tmp_path,
        record(planned, workflow="nightly", kernels={"one": KERNELS["base"].id}),
        [trial(planned[0])],
    )
    failed = {"two": "the mirror is away", "three": "patch 1 does not fit"}
    write_night(made, NightRecord(matrix="m", failed_kernels=failed, at_fault=("three",)))
    told = kcidb(examine(made))
    LATEST.validate(told)
    assert [one["status"] for one in told["builds"]] == ["PASS", "MISS", "FAIL"]
    assert [one["status"] for one in told["tests"]] == ["PASS", "MISS", "MISS"]


@pytest.mark.parametrize("make", [*RUNS, every_outcome])
def test_ktap_reads_back(tmp_path: Path, make) -> None:
    """As the lab itself reads KTAP: no problem in it, and nothing that a guest wrote is a result."""
    findings = examine(make(tmp_path))
    text = ktap_text(findings)
    assert text.isascii()
    parsed = parse("\n".join(line for line in text.split("\n") if "# metric" not in line), Clock.VIRTUAL)
    assert parsed.problems == ()
    top = [
        check for check in parsed.checks if "/" not in check.name or check.name.startswith(("base", "patch"))
    ]
    assert parsed.plan == len(findings.record.plan)
    assert len([line for line in text.split("\n") if line.startswith(("ok ", "not ok "))]) == parsed.plan
    assert top


def test_ktap_mapping(tmp_path: Path) -> None:
    lines = ktap_text(examine(every_outcome(tmp_path))).splitlines()
    results = [line for line in lines if line.startswith(("ok", "not ok"))]
    assert results == [
        "ok 1 base qxl smoke/boot-0",
        "not ok 2 base qxl smoke/boot-1",
        "not ok 3 base qxl smoke/boot-2",
        "not ok 4 base qxl smoke/boot-3 # TIMEOUT no answer",
        "ok 5 base qxl smoke/boot-4 # SKIP no such device",
        "not ok 6 base qxl smoke/boot-5 # ERROR QEMU is not there",
        "ok 7 base qxl smoke/boot-6 # XFAIL known",
        "not ok 8 base qxl smoke/boot-7 # ERROR planned, but there is no result",
    ]
    assert "  not ok 2 content ? TODO" in lines
    assert "  ok 3 swap # SKIP none" in lines
    assert "# metric total n/a insn (virtual clock)" in lines
    assert "# CRASH: panic ? not a directive" in lines


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_each_measurement(tmp_path: Path) -> None:
    """With clock, accelerator and unit, and all digits."""
    found = rows(measurements_csv(examine(pmd_size_run(tmp_path))))
    assert len(found) == 12
    assert tuple(found[0]) == COLUMNS
    one = next(row for row in found if row["metric"] == "max" and row["role"] == "patched")
    assert one["value"] == "348120"
    assert (one["unit"], one["clock"], one["accelerator"]) == ("insn", "virtual", "tcg")
    assert one["kernel"] == "debian:6.1.192-2 + pmd-size"
    numbers = rows(measurements_csv(examine(every_outcome(tmp_path / "other"))))
    assert {row["metric"]: row["value"] for row in numbers} == {
        "faults": "4",
        "total": "n/a",
        "max": "1e+300",
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "|", "%", " ="])
def test_csv_runs_in_no_spreadsheet(tmp_path: Path, start: str) -> None:
    """No cell that a guest, or a name, can fill begins like a formula; none breaks its line."""
    evil = f"{start}cmd|' /C calc'!A0,\"x\"\r\ny"
    planned = plan((CASE, "base"))
    measured = measurements({"total": -5.0}, Clock.VIRTUAL)[0].model_copy(
        update={"metric": evil, "unit": evil}
    )
    one = trial(planned[0], measurements=(measured,), started=evil)
    one = one.model_copy(update={"machine": evil, "role": evil})
    made = folder(tmp_path, record(planned), [one])
    (row,) = rows(measurements_csv(examine(made)))
    assert row["value"] == "-5"
    for name, cell in row.items():
        assert not cell.startswith(("=", "+", "@", "\t", "\r", "|", "%")), name
        assert not cell.startswith("-") or name == "value"
        assert "\n" not in cell and "\r" not in cell


def test_mail_of_a_comparison(tmp_path: Path) -> None:
    """The layout of the kernel test robot, within its columns."""
    findings = examine(pmd_size_run(tmp_path))
    text = run_mail(findings)
    assert text.isascii()
    first, *lines = text.splitlines()
    assert first.startswith("Subject: [kernel] pmd-size: x16.0 regression prefault/sparse-touch.max")
    assert max(map(len, (line for line in lines if not line.startswith("  lab ")))) < 80
    for words in (
        "Greeting,",
        "FYI, we noticed a x16.0 regression: prefault/sparse-touch.max, due to:",
        "| Reported-by: <name> <address>",
        "22,012     x15.8      348,120  prefault/first-touch.max, insn",
        "1,924,310    -27.0%    1,404,018  prefault/first-touch.total, insn (better)",
        "  lab validate testcases/prefault/series/pmd-size.mbox",
        "(for regzbot, fill in:",
    ):
        assert words in text, words


def test_mail_of_a_crash(tmp_path: Path) -> None:
    """Hostile words of the console stay what they are."""
    text = run_mail(examine(nasty_run(tmp_path)))
    assert text.isascii()
    assert "\x1b" not in text
    assert "CRASH prefault/first-touch: " in text.splitlines()[0]
    assert sum(line.startswith("Subject:") for line in text.splitlines()) == 1


def test_mail_needs_a_regression(tmp_path: Path) -> None:
    planned = plan((CASE, "base"), (CASE, "patched"))
    same = {"faults": 4, "total": 5, "max": 6}
    made = folder(tmp_path, record(planned), [trial(one, same) for one in planned])
    with pytest.raises(UserError, match="nothing got worse"):
        run_mail(examine(made))
    alone = plan((CASE, "kernel"))
    single = record(alone, id="one", kernels={"kernel": KERNELS["base"].id})
    with pytest.raises(UserError, match="no base and patched"):
        run_mail(examine(folder(tmp_path, single, [trial(alone[0], same)])))


@pytest.mark.parametrize(
    ("good", "bad", "line"),
    [
        (Kernel("a", commit="a" * 40), Kernel("b", commit="b" * 40), "aaaaaaaaaaaa..bbbbbbbbbbbb"),
        (Kernel("a", "6.12.43-1"), Kernel("b", "6.12.44-1~bpo13+1"), "v6.12.43..v6.12.44"),
        (Kernel("a", "7.3~rc1-1"), Kernel("b", "7.3~rc2-1"), "v7.3-rc1..v7.3-rc2"),
        (Kernel("a", "6.12.43-1"), Kernel("b", "6.12.43-2"), ""),
        (Kernel("a", "next"), Kernel("b", commit="b" * 40), ""),
    ],
)
def test_regzbot_line(good: Kernel, bad: Kernel, line: str) -> None:
    """Commits, else releases; where neither differs a person must say."""
    (found,) = regzbot(good, bad)
    assert found == (f"#regzbot introduced: {line}" if line else found)
    assert found.startswith("#regzbot") is bool(line)


def test_mail_cannot_be_given_more_headers() -> None:
    """A line break in what a guest said begins no line of its own."""
    evil = "x\nBcc: all@example.org\n#regzbot introduced: a..b"
    kernel = Kernel(evil, evil, "", evil)
    text = mail_text(
        Mail(evil, evil, evil, kernel, kernel, [], [("in testcase", evil)], [evil], [evil], evil)
    )
    assert not any(line.startswith(("Bcc", "#regzbot")) for line in text.splitlines())


@pytest.mark.parametrize("wanted", ["text", "junit", "kcidb", "ktap", "csv", "mail"])
def test_every_format(tmp_path: Path, wanted: str) -> None:
    findings = examine(pmd_size_run(tmp_path))
    before = sorted(findings.run.path.rglob("*"))
    assert len(formatted(findings, wanted, "faultlab")) > 300
    assert sorted(findings.run.path.rglob("*")) == before
    with pytest.raises(UserError, match="no origin"):
        formatted(findings, wanted, "My-Lab")
