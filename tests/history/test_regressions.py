# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab regressions`: what is new is told once, with the two kernels and the command; what is not, is not."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner
from past_nights import BOOT, OOPS, SPARSE, TOUCH, Had, Version, night

from lab.cli.main import lab
from lab.errors import InfraError, UserError
from lab.history.index import Index
from lab.history.regressions import new_since
from lab.results.models import Clock, Outcome
from lab.results.runfolder import all_runs, runs_dir
from lab.spec.expectations import _read

NEWER = {"6.12": Version(version="6.12.44-1")}
CRASH = Had(outcome=Outcome.CRASH, splats=(OOPS,), reason="oops: " + OOPS.title)


@pytest.fixture
def made():
    """Makes a night below this test's own state folder."""
    return lambda day, boots, **more: night(runs_dir(), day, boots, **more)


def fresh():
    with Index.open() as index:
        index.refresh(all_runs())
        return new_since(index, index.nights()[0].run)


def command(*words):
    result = CliRunner().invoke(lab, ["-q", "regressions", *words], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value, result.output


def test_newly_broken(made):
    """With last good and first bad kernel, and the commands for both."""
    made(1, [Had(), Had(SPARSE)])
    made(2, [CRASH, Had(SPARSE)], versions=NEWER)
    one = next(one for one in fresh() if one.kind == "broken")
    assert one.alarm
    assert one.cell.case == TOUCH
    assert (one.before.exact, one.now.exact) == ("debian:6.12.43-1", "debian:6.12.44-1")
    assert one.what == f"PASS -> CRASH: oops: {OOPS.title}"
    assert one.note == ""
    assert one.command == "lab run prefault/first-touch --kernel debian:6.12.44-1 --machine qxl"
    assert one.command_before == "lab run prefault/first-touch --kernel debian:6.12.43-1 --machine qxl"
    good, bad = one.before.exact, one.now.exact
    assert one.bisect == f"lab bisect prefault/first-touch --good {good} --bad {bad} --machine qxl"


def test_told_once(made):
    """What is still broken is no news; what is mended is told, and fails nothing."""
    made(1, [Had()])
    made(2, [CRASH], versions=NEWER)
    made(3, [CRASH], versions=NEWER)
    assert fresh() == []
    made(4, [Had()], versions={"6.12": Version(version="6.12.45-1")})
    (one,) = fresh()
    assert (one.kind, one.alarm, one.what) == ("fixed", False, "CRASH -> PASS")


def test_what_says_nothing_is_looked_past(made):
    """A cell that was not run, skipped or in ERROR is held against the night before that."""
    made(1, [Had(), Had(SPARSE)])
    made(2, [Had(outcome=Outcome.ERROR), Had(SPARSE, Outcome.SKIP), Had(BOOT)])
    made(3, [Had(), Had(SPARSE), Had(BOOT)])
    assert fresh() == []
    made(4, [Had(BOOT)])
    made(5, [CRASH, Had(SPARSE), Had(BOOT)], versions=NEWER)
    assert [one.cell.case for one in fresh() if one.kind == "broken"] == [TOUCH]
    assert next(one for one in fresh()).before.run.startswith("20260103")


def test_an_expected_failure_is_no_news(made):
    made(1, [Had()])
    made(2, [Had(outcome=Outcome.CRASH, splats=(OOPS,), expected=True)], versions=NEWER)
    assert fresh() == []
    made(3, [CRASH], versions={"6.12": Version(version="6.12.45-1")})
    assert {one.kind for one in fresh()} == {"broken", "signature"}


def test_a_new_cell_that_is_broken(made):
    made(1, [Had()])
    made(2, [Had(), Had(SPARSE, Outcome.FAIL, failed=("content",))])
    (one,) = fresh()
    assert (one.kind, one.alarm, one.before, one.note) == ("broken", True, None, "it has no past")
    assert one.command_before == ""


def test_a_flake_says_so(made):
    """The same kernel, case and conditions: no kernel is to blame, and the rate is told."""
    for day in range(1, 6):
        made(day, [Had()])
    made(6, [Had(outcome=Outcome.FAIL, failed=("content",))])
    (one,) = fresh()
    assert one.note == "the kernel is the same: fails in 1 of 6 (3.0 to 56.4 %) boots of it"
    assert one.command_before == one.compare == one.bisect == ""


def test_a_metric_that_got_worse(made):
    for day in (1, 2, 3):
        made(day, [Had(numbers={"max": 22012, "faults": 4})])
    assert fresh() == []
    made(4, [Had(numbers={"max": 348120, "faults": 3})], versions=NEWER)
    worse, better = fresh()
    assert (worse.kind, worse.alarm, worse.metric) == ("worse", True, "max")
    assert worse.what == "longest touch 22,012 -> 348,120 instructions (15.8 times)"
    assert worse.before.run.startswith("20260103")
    assert worse.change.change == pytest.approx(14.815, abs=1e-3)
    assert (better.kind, better.alarm, better.metric) == ("better", False, "faults")
    made(5, [Had(numbers={"max": 348120, "faults": 3})], versions=NEWER)
    assert fresh() == []


def test_a_metric_that_fails_nothing(made):
    """Without `gate` a metric is shown."""
    made(1, [Had(numbers={"faults": 4})])
    made(2, [Had(numbers={"faults": 5})], versions=NEWER)
    (one,) = fresh()
    assert (one.kind, one.alarm) == ("worse", False)
    assert "fails nothing" in one.note


@pytest.mark.parametrize(
    ("second", "versions", "kind", "note"),
    [
        (Had(numbers={"max": 200}, digest="e" * 64), NEWER, "moved", "the case was edited"),
        (Had(numbers={"max": 200}, qemu="8.2"), NEWER, "moved", "QEMU changed as well"),
        (Had(numbers={"max": 200}, qemu="8.2"), {}, "moved", "QEMU changed as well; the kernel is the same"),
        (Had(numbers={"max": 200}), {}, "varies", "the kernel is the same"),
    ],
)
def test_no_false_alarm(made, second, versions, kind, note):
    """Where something else changed, or nothing did, the kernel is not blamed."""
    made(1, [Had(numbers={"max": 100})])
    made(2, [second], versions=versions)
    (one,) = fresh()
    assert (one.kind, one.alarm, one.note) == (kind, False, note)


def test_what_varies_by_itself_is_one_line(made):
    """There are no two kernels to compare, and no command that would show more."""
    made(1, [Had(numbers={"max": 100})])
    made(2, [Had(numbers={"max": 200})])
    code, text = command()
    assert code == 0
    (line,) = [line for line in text.splitlines() if "longest touch" in line]
    what = "longest touch 100 -> 200 instructions (2.0 times)"
    assert line == f"  prefault/first-touch on qxl, debian:6.12: {what}"


def test_a_failure_that_is_expected_now(made):
    """It is no new failure, and not told as if the kernel had been mended."""
    made(1, [Had(outcome=Outcome.FAIL, failed=("content",))])
    made(2, [Had(outcome=Outcome.FAIL, failed=("content",), expected=True)])
    (one,) = fresh()
    assert (one.kind, one.alarm, one.what) == ("fixed", False, "FAIL -> FAIL, which is expected now")


def test_nothing_new_at_all(made):
    """Two nights alike, with all that is the matter in both: not a word."""
    boots = [
        Had(numbers={"max": 100}),
        Had(SPARSE, Outcome.FAIL, failed=("content",)),
        Had(BOOT, Outcome.CRASH, splats=(OOPS,)),
        Had(numbers={"max": 12345.6}, machine="kvm-host", clock=Clock.FUNCTIONAL),
    ]
    made(1, boots)
    boots[-1] = Had(numbers={"max": 99999.9}, machine="kvm-host", clock=Clock.FUNCTIONAL)
    made(2, boots)
    assert fresh() == []
    assert command() == (0, command()[1])
    assert command()[1].startswith("no new regression in ")


def test_noise_of_real_time_is_no_news(made):
    """Values differ each night; a shift that has held for some nights is told in one of them, once."""
    import random

    chance, told = random.Random(4), []
    for day in range(1, 29):
        level = 1000 if day <= 18 else 1500
        had = Had(numbers={"max": chance.gauss(level, 10)}, clock=Clock.REAL)
        made(day, [had], versions=NEWER if day > 18 else None)
        told += [(day, one.kind, one.now.run[:8]) for one in fresh()]
    assert len(told) == 1
    assert 20 <= told[0][0] <= 24
    assert told[0][1:] == ("worse", "20260119")


def test_a_new_signature_of_a_cell_that_failed_before(made):
    """It failed, and now the kernel dies of it: that is news."""
    made(1, [Had(outcome=Outcome.FAIL, failed=("content",)), Had(SPARSE)])
    made(2, [CRASH, Had(SPARSE)], versions=NEWER)
    (one,) = fresh()
    assert (one.kind, one.signature, one.alarm) == ("signature", ("oops", OOPS.title), True)
    made(3, [CRASH, Had(SPARSE, Outcome.CRASH, splats=(OOPS,))], versions=NEWER)
    assert [one.kind for one in fresh()] == ["broken"]


def test_commits_are_bisected(made):
    url = "git:/src/linux@for-next"
    old, new = (Version(url, "6.13.0-rc1", commit=digit * 40, kconfig="lean+drm") for digit in "ab")
    made(1, [Had()], versions={"6.12": old})
    made(2, [CRASH], versions={"6.12": new})
    one = fresh()[0]
    words = shlex.split(one.bisect)
    assert words[:3] == ["lab", "bisect", TOUCH]
    assert words[3:9] == ["--tree", "/src/linux", "--good", "a" * 40, "--bad", "b" * 40]
    assert "--kconfig lean+drm" in one.command


def test_two_runs_of_one_kernel_can_be_compared(made):
    """`lab compare` takes runs of one kernel."""
    first, second = made(1, [Had()]), made(2, [CRASH], versions=NEWER)
    assert fresh()[0].compare == f"lab compare {first.path.name} {second.path.name}"
    two = [Had(), Had(role="7.3")]
    known = {"7.3": Version("debian:7.3", "7.3.4-1")}
    made(3, two, versions=known)
    made(4, [CRASH, two[1]], versions=NEWER | known)
    assert fresh()[0].compare == ""


def test_series_are_named_or_shown(made):
    """A shipped one by its name, any other by the mbox that the night kept."""
    made(1, [Had()], versions={"6.12": Version(series="prefault/pmd-size")})
    made(2, [CRASH], versions={"6.12": Version(version="6.12.44-1", series="prefault/pmd-size")})
    assert "--series prefault/pmd-size" in fresh()[0].command
    run = made(3, [CRASH], versions={"6.12": Version(series="mine")})
    record = run.read()
    subject = record.subjects["6.12"].model_copy(update={"mboxes": ("series/mine/v2.mbox",)})
    run.write(record.model_copy(update={"subjects": {"6.12": subject}}))
    assert f"--series {run.path}/series/mine/v2.mbox" in fresh()[0].command


def test_many_cells_say_the_same_as_few(made, monkeypatch):
    made(1, [Had(numbers={"max": 100}), Had(SPARSE), Had(BOOT)])
    made(2, [Had(numbers={"max": 200}), CRASH.__class__(SPARSE, Outcome.FAIL), Had(BOOT)], versions=NEWER)
    few = fresh()
    monkeypatch.setattr("lab.history.regressions.FEW", 0)
    assert len(few) == 2
    assert fresh() == few


# The command


def test_needs_two_nights(made):
    with pytest.raises(InfraError, match="no night yet") as told:
        command()
    assert told.value.exit_code == 125
    made(1, [CRASH])
    with pytest.raises(InfraError, match="is the first night") as told:
        command()
    assert told.value.exit_code == 125
    other = made(2, [Had()], workflow="run")
    with pytest.raises(UserError, match="is no night"):
        command(other.path.name)


def test_exit_code_and_text(made):
    made(1, [Had(), Had(SPARSE, numbers={"max": 100})])
    second = made(
        2,
        [CRASH, Had(SPARSE, numbers={"max": 200})],
        versions=NEWER,
        failed_kernels={"7.3": "no package fits"},
    )
    code, text = command()
    assert code == 1
    for words in (
        "2 new regressions in 20260102",
        "Newly broken (1)",
        "Complaints that no earlier night has (1)",
        "Worse (1)",
        "before  debian:6.12.43-1 (kernel ",
        "now     debian:6.12.44-1 (kernel ",
        "lab run prefault/sparse-touch --kernel debian:6.12.44-1 --machine qxl",
        "kernel 7.3 could not be had: no package fits",
    ):
        assert words in text, words
    assert text.isascii()
    code, raw = command("--json", second.path.name)
    told = json.loads(raw)
    assert (code, told["new_regressions"], len(told["regressions"])) == (1, 2, 3)
    assert told["regressions"][0]["good"]["kernel"] == "debian:6.12.43-1"
    assert told["regressions"][0]["bad"]["version"] == "6.12.44-1"
    assert told["failed_kernels"] == {"7.3": "no package fits"}


def test_damaged_runs_are_told_and_passed_over(made):
    made(1, [Had()])
    (runs_dir() / "20260102T000000Z-nightly-bad-0000").mkdir()
    (runs_dir() / "20260102T000000Z-nightly-bad-0000" / "run.json").write_text("{")
    made(3, [Had()])
    code, raw = command("--json")
    assert code == 0
    assert "nightly-bad" in json.loads(raw)["damaged"][0]


def test_hostile_texts_stay_harmless(made):
    nasty = "\x1b[31m=cmd|' /C calc'!A0\nlab: \u202e</script>" + "x" * 5000
    made(1, [Had()])
    run = made(2, [Had(outcome=Outcome.FAIL, failed=("a",))], versions=NEWER)
    path = next(run.path.glob("trials/*/trial.json"))
    told = json.loads(path.read_text())
    told["checks"][0]["name"] = told["reason"] = nasty
    path.write_text(json.dumps(told))
    code, text = command()
    assert code == 1
    assert text.isascii() and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 110


def test_flakes_are_proposed_as_lines_that_can_be_read(made, tmp_path):
    """What fails now and then on one kernel; not what always fails, and not what is known."""
    for day in range(1, 11):
        flaky = Had(
            outcome=Outcome.FAIL if day == 4 else Outcome.PASS, failed=("content",) if day == 4 else ()
        )
        always = Had(SPARSE, Outcome.FAIL, failed=("content",))
        known = Had(BOOT, Outcome.FAIL if day % 2 else Outcome.PASS, expected=bool(day % 2))
        made(day, [flaky, always, known])
    code, text = command("--propose-flakes")
    assert code == 0
    assert "# Reason: fails in 1 of 10 (1.8 to 40.4 %) boots of debian:6.12.43-1: FAIL:" in text
    path = tmp_path / "flakes.txt"
    path.write_text(text)
    (one,) = _read(path, {TOUCH, SPARSE, BOOT}, {"qxl"})
    assert (one.kind, one.case, one.machine, one.kernels.text) == ("flakes", TOUCH, "qxl", ">=6.12,<6.13")
    assert "to be filled in" in one.owner
    assert "to be filled in" in one.link


def test_mails_are_written(made, tmp_path):
    """One for each pair of kernels; nothing without a regression."""
    made(1, [Had(numbers={"max": 22012}), Had(SPARSE)])
    made(2, [Had(numbers={"max": 348120}), Had(SPARSE, Outcome.CRASH, splats=(OOPS,))], versions=NEWER)
    code, _ = command("--mail", str(tmp_path / "mails"))
    assert code == 1
    (path,) = (tmp_path / "mails").iterdir()
    text = path.read_text()
    assert text.startswith("Subject: [debian:6.12] 6.12.44-1: CRASH prefault/sparse-touch: ")
    for words in (
        "Greeting,",
        "FYI, we noticed a CRASH: prefault/sparse-touch: ",
        "| Reported-by: <name> <address>",
        "| Closes: <link",
        "22,012     x15.8      348,120  prefault/first-touch.max, insn",
        "#regzbot introduced: v6.12.43..v6.12.44",
        "lab run prefault/sparse-touch --kernel debian:6.12.44-1 --machine qxl",
        "  [    1.000001] RIP: 0010:ttm_bo_vm_fault+0x12",
    ):
        assert words in text, words
    made(3, [Had(numbers={"max": 348120}), Had(SPARSE)], versions=NEWER)
    assert command("--mail", str(tmp_path / "again"))[0] == 0
    assert not (tmp_path / "again").exists()
