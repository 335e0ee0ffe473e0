# SPDX-License-Identifier: GPL-2.0-or-later
"""The index says what the run folders say, whatever lies among them."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from past_nights import BOOT, OOPS, SPARSE, TOUCH, Had, Version, cell, night

from lab.errors import InfraError
from lab.history import refreshing, schema
from lab.history.index import Index
from lab.history.passed_over import for_terminal, sentence
from lab.history.reading import read_run
from lab.results.models import Clock, Outcome
from lab.results.night import NightRecord, write_night
from lab.results.runfolder import RunFolder


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def index(tmp_path):
    with Index.open(tmp_path / "history.sqlite") as opened:
        yield opened


def folders(runs: Path) -> list[RunFolder]:
    return [RunFolder(path) for path in sorted(runs.iterdir())]


def aged(runs: Path) -> None:
    """As if nothing had been written in the last hour."""
    for path in [*runs.glob("*/run.json"), *runs.glob("*/night.json"), *runs.glob("*/trials")]:
        about = path.stat()
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns - 3_600_000_000_000))


def told(index: Index) -> list[object]:
    """All that it has, in comparable form."""
    nights = index.nights()
    return [nights, *([index.cells(one.run), index.signatures(one.run)] for one in nights), index.durations()]


def test_cells_of_a_night(runs, index):
    night(runs, 1, [Had(numbers={"max": 100, "faults": 4}), Had(SPARSE, Outcome.FAIL, failed=("content",))])
    refreshed = index.refresh(folders(runs))
    (one,) = index.nights()
    assert refreshed.added == (one.run,)
    assert one.outcomes == {"PASS": 1, "FAIL": 1}
    good, bad = index.cells(one.run)
    assert good.cell == cell()
    assert good.good and not good.broken
    assert {name: (m.value, m.unit, m.clock) for name, m in good.measurements.items()} == {
        "max": (100.0, "insn", Clock.VIRTUAL),
        "faults": (4.0, "count", Clock.COUNT),
    }
    assert (good.kernel_name, good.exact, good.version) == ("debian:6.12.43-1",) * 2 + ("6.12.43-1",)
    assert bad.broken
    assert bad.signature == "FAIL: prefault/sparse-touch: not ok: content"
    assert bad.measurements == {}


def test_the_worst_boot_stands_for_a_cell(runs, index):
    """Of several attempts the newest counts, of several boots the worst; of numbers the median."""
    night(
        runs,
        1,
        [
            Had(numbers={"max": 100}),
            Had(numbers={"max": 300}, repeat=2),
            Had(numbers={"max": 200}, repeat=3),
            Had(outcome=Outcome.TIMEOUT, repeat=4),
            Had(outcome=Outcome.ERROR, repeat=5),
            Had(outcome=Outcome.CRASH, repeat=6, attempt=1),
            Had(numbers={"max": 200}, repeat=6, attempt=2),
        ],
    )
    index.refresh(folders(runs))
    (entry,) = index.cells(index.nights()[0].run)
    assert entry.outcome is Outcome.TIMEOUT
    assert entry.measurements["max"].value == 200
    assert (entry.bad, entry.trials) == (1, 5)
    assert index.flakes(entry.cell).bad == 1


def test_an_unexpected_failure_is_worse_than_an_expected_crash(runs, index):
    night(runs, 1, [Had(outcome=Outcome.CRASH, expected=True), Had(outcome=Outcome.FAIL, repeat=2)])
    index.refresh(folders(runs))
    (entry,) = index.cells(index.nights()[0].run)
    assert entry.outcome is Outcome.FAIL
    assert entry.broken


def test_last_good_and_first_bad(runs, index):
    """What says nothing (SKIP, ERROR) is neither; an expected failure is good."""
    ends = [
        Outcome.FAIL,
        Outcome.PASS,
        Outcome.ERROR,
        Outcome.FAIL,
        Outcome.SKIP,
        Outcome.CRASH,
    ]
    for day, outcome in enumerate(ends, 1):
        night(runs, day, [Had(outcome=outcome), Had(SPARSE, Outcome.FAIL, expected=True)])
    index.refresh(folders(runs))
    assert "20260102" in index.last_good(cell()).run
    assert "20260104" in index.first_bad(cell()).run
    assert "20260101" in index.first_bad(cell(), until=index.nights()[-1].run).run
    assert index.last_good(cell(), until=index.nights()[-1].run) is None
    assert "20260106" in index.last_good(cell(Had(SPARSE))).run
    assert index.first_bad(cell(Had(SPARSE))) is None
    assert index.last_good(cell(Had(BOOT))) is index.first_bad(cell(Had(BOOT))) is None


def test_past_and_trend(runs, index):
    """Newest first, oldest first; other workflows make no history of a cell, but count for flakes."""
    for day in (1, 2, 3):
        night(runs, day, [Had(numbers={"max": 100 * day})])
    night(runs, 4, [Had(outcome=Outcome.FAIL)], workflow="run")
    index.refresh(folders(runs))
    assert [entry.measurements["max"].value for entry in index.past(cell())] == [300, 200, 100]
    assert [entry.measurements["max"].value for entry in index.past(cell(), 1)] == [300]
    assert [point.value for point in index.trend(cell(), "max")] == [100, 200, 300]
    assert index.trend(cell(), "other") == []
    rate = index.flakes(cell())
    assert (rate.bad, rate.total) == (1, 4)


def test_flakes_are_of_one_kernel_and_case(runs, index):
    """Another version of the kernel, or an edited case, begins anew."""
    night(runs, 1, [Had(outcome=Outcome.FAIL)])
    night(runs, 2, [Had(outcome=Outcome.FAIL)], versions={"6.12": Version(version="6.12.44-1")})
    night(runs, 3, [Had()], versions={"6.12": Version(version="6.12.44-1")})
    night(runs, 4, [Had(digest="e" * 64)], versions={"6.12": Version(version="6.12.44-1")})
    index.refresh(folders(runs)[:3])
    assert (index.flakes(cell()).bad, index.flakes(cell()).total) == (1, 2)
    index.refresh(folders(runs))
    assert (index.flakes(cell()).bad, index.flakes(cell()).total) == (0, 1)


def test_bulk_queries_say_the_same(runs, index):
    chance = random.Random(5)
    for day in range(1, 6):
        boots = [
            Had(case, chance.choice((Outcome.PASS, Outcome.PASS, Outcome.FAIL)), {"max": chance.randrange(9)})
            for case in (TOUCH, SPARSE, BOOT)
        ]
        night(runs, day, boots[: 1 + day % 3])
    index.refresh(folders(runs))
    for one in index.nights():
        past, trends, rates = index.all_past(one.run), index.all_trends(one.run), index.all_rates(one.run)
        cells = {entry.cell for entry in index.cells(one.run)}
        assert set(past) == set(trends) == cells
        for known in cells:
            assert past[known] == index.past(known, until=one.run)
    newest = index.nights()[0].run
    for known in {entry.cell for entry in index.cells(newest)}:
        assert index.all_trends(newest)[known].get("max", []) == index.trend(known, "max")
        assert rates.keys() == past.keys()
        assert index.all_rates(newest)[known] == index.flakes(known)


def test_unchanged_cells_stand_for_later_nights(runs, index):
    first = night(runs, 1, [Had(numbers={"max": 100})])
    second = night(runs, 2, [Had(SPARSE)], more=[Had()])
    planned = second.read().plan[1]
    write_night(second, NightRecord(matrix="made", unchanged={planned.key: first.path.name}))
    index.refresh(folders(runs))
    assert [(e.cell.case, e.run) for e in index.cells(second.path.name)] == [
        (SPARSE, second.path.name),
        (TOUCH, first.path.name),
    ]
    assert set(index.all_past(second.path.name)) == {cell(), cell(Had(SPARSE))}
    shutil.rmtree(first.path)
    index.refresh(folders(runs))
    assert [e.cell.case for e in index.cells(second.path.name)] == [SPARSE]


def test_refresh_reads_only_what_changed(runs, index):
    night(runs, 1, [Had()])
    changing = night(runs, 2, [Had()], more=[Had(SPARSE)])
    aged(runs)
    assert len(index.refresh(folders(runs)).added) == 2
    again = index.refresh(folders(runs))
    assert (again.added, again.gone, again.kept) == ((), (), 2)
    planned = changing.read().plan[1]
    with changing.new_trial(planned.key) as building:
        source = json.loads((changing.trial_path(changing.read().plan[0].key) / "trial.json").read_text())
        (building / "trial.json").write_text(json.dumps(source | {"key": planned.key, "case": SPARSE}))
    assert index.refresh(folders(runs)).added == (changing.path.name,)
    assert len(index.cells(changing.path.name)) == 2


def test_what_changed_a_moment_ago_is_read_again(runs, index, monkeypatch):
    """Within one tick of the clock a folder may change without a new time."""
    monkeypatch.setattr(refreshing, "RACY_SECONDS", 600.0)
    night(runs, 1, [Had()])
    assert len(index.refresh(folders(runs)).added) == 1
    assert len(index.refresh(folders(runs)).added) == 1
    aged(runs)
    assert len(index.refresh(folders(runs)).added) == 1
    assert len(index.refresh(folders(runs)).added) == 0


def test_what_is_gone_is_taken_out(runs, index):
    gone = night(runs, 1, [Had(outcome=Outcome.CRASH, splats=(OOPS,))])
    night(runs, 2, [Had()])
    index.refresh(folders(runs))
    shutil.rmtree(gone.path)
    assert index.refresh(folders(runs)).gone == (gone.path.name,)
    assert [one.run for one in index.nights()] == [folders(runs)[0].path.name]
    assert len(index.past(cell())) == 1
    assert index.signatures(gone.path.name) == []


def test_made_again_it_is_the_same(runs, index, tmp_path):
    for day in range(1, 5):
        night(runs, day, [Had(numbers={"max": day}), Had(SPARSE, Outcome.CRASH, splats=(OOPS,))])
        index.refresh(folders(runs))
    with Index.open(tmp_path / "other.sqlite") as other:
        other.refresh(folders(runs))
        assert told(other) == told(index)


def test_signatures_are_new_once(runs, index):
    """Against nights alone: a series that somebody tried and that crashed makes nothing known."""
    crash = Had(outcome=Outcome.CRASH, splats=(OOPS,))
    night(runs, 1, [crash], workflow="validate")
    night(runs, 2, [Had()])
    night(runs, 3, [crash, Had(SPARSE, Outcome.CRASH, splats=(OOPS,))])
    night(runs, 4, [crash, Had(SPARSE, Outcome.TIMEOUT, stage="boot")])
    index.refresh(folders(runs))
    fourth, third, second = (one.run for one in index.nights())
    assert index.signatures(second) == []
    (one,) = index.signatures(third)
    assert (one.kind, one.title, one.count, one.new) == ("oops", OOPS.title, 2, True)
    assert "validate" in one.first_run
    assert {(s.kind, s.title, s.new) for s in index.signatures(fourth)} == {
        ("oops", OOPS.title, False),
        ("TIMEOUT", f"{SPARSE} at stage boot", True),
    }


def test_traced_times_are_no_trend(runs, index):
    """A timeline takes a part of the span that it shows."""
    run = night(runs, 1, [Had(numbers={"max": 100, "faults": 4})])
    path = next(run.path.glob("trials/*/trial.json"))
    told = json.loads(path.read_text())
    told["environment"]["traced"] = True
    path.write_text(json.dumps(told))
    index.refresh(folders(runs))
    (entry,) = index.cells(run.path.name)
    assert set(entry.measurements) == {"faults"}


def test_times_of_debug_kernels_are_no_trend(runs, index):
    """What they count is kept."""
    slow = {"6.12": Version(debug=("KASAN",))}
    run = night(runs, 1, [Had(numbers={"max": 100, "faults": 4})], versions=slow)
    index.refresh(folders(runs))
    (entry,) = index.cells(run.path.name)
    assert list(entry.measurements) == ["faults"]


def test_git_kernels_are_told_by_their_commit(runs, index):
    commit = "a" * 40
    for day, kernel in enumerate(("git:https://example.org/linux.git@for-next", "tree:/src/linux"), 1):
        night(runs, day, [Had()], versions={"6.12": Version(kernel, "6.13.0-rc1", commit=commit)})
    index.refresh(folders(runs))
    exact = [index.cells(one.run)[0].exact for one in reversed(index.nights())]
    assert exact == [f"git:https://example.org/linux.git@{commit}", f"tree:/src/linux@{commit}"]


# Bad input


def test_damaged_folders_are_named_and_passed_over(runs, index):
    good = night(runs, 1, [Had(), Had(SPARSE)])
    night(runs, 2, [Had()])
    broken = runs / "20260103T010000Z-nightly-broken-0003"
    broken.mkdir()
    (broken / "run.json").write_text('{"id": 1')
    other = runs / "20260104T010000Z-nightly-other-0004"
    other.mkdir()
    (other / "run.json").mkdir()
    path = good.trial_path(good.read().plan[0].key) / "trial.json"
    path.write_bytes(path.read_bytes()[:200])
    refreshed = index.refresh(folders(runs))
    assert len(refreshed.damaged) == 3
    for name in (broken.name, other.name, str(path.relative_to(runs))):
        assert any(name in sentence for sentence in refreshed.damaged), name
    assert len(index.nights()) == 2
    assert [entry.cell.case for entry in index.cells(good.path.name)] == [SPARSE]
    assert index.refresh(folders(runs)).damaged == refreshed.damaged


def test_a_run_of_another_format_is_told_from_a_damaged_one(runs, index):
    """Whole, and a lab's, but not as this one writes it: too much or too little in it."""
    made = json.loads((night(runs, 1, [Had()]).path / "run.json").read_text())
    for day, record in ((2, made | {"series_onto": "base"}), (3, {**made, "id": None}), (4, {"id": "x"})):
        path = runs / f"2026010{day}T010000Z-nightly-made-{day:04x}"
        path.mkdir()
        (path / "run.json").write_text(json.dumps(record))
    more, less, none = index.refresh(folders(runs)).damaged
    head = "run 20260102T010000Z-nightly-made-0002 is passed over: run.json is of another format: "
    assert more == f"{head}series_onto: Extra inputs are not permitted"
    assert "run.json is of another format: id: " in less
    assert "run.json is damaged: " in none


def test_the_terminal_is_told_in_short():
    """However much is damaged: a few lines, and who names each."""
    one = [sentence(f"r{n:03}", "run.json is of another format") for n in range(124)]
    assert for_terminal(one[:2]) == one[:2]
    first, names = for_terminal(one)
    assert first == "124 runs, r000 to r123, are passed over: run.json is of another format"
    assert names == "`lab list runs`, `lab site` and --json name each"
    many = [f"r/trials/{n}/trial.json is damaged: {n}" for n in range(40)]
    assert for_terminal(many) == [*many[:5], "and 35 more files are passed over", names]


HOSTILE = {
    "not JSON": b"\x00\xff",
    "empty": b"",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "deep inside": b'{"key": ' + b"[" * 100_000,
    "many digits": b'{"number": ' + b"9" * 5000 + b"}",
    "no key": b"{}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_trials(runs, index, name):
    run = night(runs, 1, [Had(), Had(SPARSE)])
    path = run.trial_path(run.read().plan[0].key) / "trial.json"
    path.write_bytes(HOSTILE[name])
    (sentence,) = index.refresh(folders(runs)).damaged
    assert sentence.startswith(f"{path.relative_to(runs)} is damaged: ")
    assert len(index.cells(run.path.name)) == 1


def test_links_and_pipes_are_not_followed(runs, index, tmp_path):
    """A run folder of others cannot make the lab wait, or read what is not its own."""
    run = night(runs, 1, [Had(), Had(SPARSE), Had(BOOT)])
    paths = [run.trial_path(one.key) / "trial.json" for one in run.read().plan[:2]]
    outside = tmp_path / "trial.json"
    shutil.move(paths[0], outside)
    paths[0].symlink_to(outside)
    paths[1].unlink()
    os.mkfifo(paths[1])
    assert len(index.refresh(folders(runs)).damaged) == 2
    assert len(index.cells(run.path.name)) == 1


def changed(run: RunFolder, **fields: object) -> None:
    path = next(run.path.glob("trials/*/trial.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("nan"), False),
        (float("inf"), False),
        (10**400, False),
        (True, False),
        ("1", False),
        (2**60, True),
    ],
)
def test_numbers_that_are_none_are_left_out(runs, index, value, kept):
    run = night(runs, 1, [Had()])
    measured = {"metric": "max", "value": value, "unit": "insn", "clock": "virtual"}
    changed(run, measurements=[measured, measured | {"metric": "faults", "value": 1.5}], seconds=float("nan"))
    assert index.refresh(folders(runs)).damaged == ()
    (entry,) = index.cells(run.path.name)
    assert set(entry.measurements) == ({"max", "faults"} if kept else {"faults"})
    assert entry.seconds == 0.0


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": "FINE"},
        {"clock": "lunar"},
        {"number": -1},
        {"number": True},
        {"number": 2**70},
        {"case": None},
        {"measurements": [1]},
        {"measurements": {"a": 1}},
        {"measurements": [{"metric": "max", "value": 1}]},
        {"outcome": "FAIL", "splats": "many"},
        {"outcome": "FAIL", "checks": [{"result": "not ok", "name": 3}]},
        {"key": "../../other"},
    ],
)
def test_wrong_fields_make_a_trial_damaged(runs, index, fields):
    run = night(runs, 1, [Had()])
    changed(run, **fields)
    assert len(index.refresh(folders(runs)).damaged) == 1
    assert index.cells(run.path.name) == []


def test_texts_are_bounded_and_visible(runs, index):
    run = night(runs, 1, [Had(outcome=Outcome.CRASH)])
    nasty = "\x1b[31m\ud800\x00" + "A" * 10**5
    splat = {"kind": "oops", "title": nasty, "line": 1, "excerpt": ""}
    changed(run, reason=nasty, case=nasty, machine=nasty, splats=[splat] * 30, case_digest=nasty)
    assert index.refresh(folders(runs)).damaged == ()
    (entry,) = index.cells(run.path.name)
    for text in (entry.reason, entry.cell.case, entry.cell.machine, entry.signature, entry.digest):
        assert len(text) <= 300
        assert text.isprintable() and text.isascii()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_trial_says_it_never_stops_the_lab(tmp_path_factory, data):
    """A valid trial with any of its parts replaced by any JSON."""
    root = tmp_path_factory.mktemp("any")
    run = night(root / "runs", 1, [Had(outcome=Outcome.FAIL, splats=(OOPS,), failed=("a",)), Had(SPARSE)])
    path = sorted(run.path.glob("trials/*/trial.json"))[0]
    told = json.loads(path.read_text())
    fields = data.draw(st.dictionaries(st.sampled_from(sorted(told)), JSON, min_size=1, max_size=4))
    if data.draw(st.booleans()) and told["environment"]:
        fields["environment"] = told["environment"] | data.draw(
            st.dictionaries(st.sampled_from(sorted(told["environment"])), JSON, max_size=3)
        )
    path.write_text(json.dumps(told | fields))
    with Index.open(root / "history.sqlite") as index:
        index.refresh([run])
        assert 1 <= len(index.cells(run.path.name)) <= 2
        index.nights(), index.durations(), index.all_trends(run.path.name), index.signatures(run.path.name)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.dictionaries(st.sampled_from(["created", "subjects", "kernels", "cases", "plan", "id"]), JSON)
)
def test_whatever_a_run_says_it_never_stops_the_lab(tmp_path_factory, fields):
    root = tmp_path_factory.mktemp("any")
    run = night(root / "runs", 1, [Had()])
    path = run.path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    facts = read_run(run)
    assert facts.record is not None or len(facts.damaged) == 1
    with Index.open(root / "history.sqlite") as index:
        index.refresh([run])
        assert len(index.nights()) <= 1


# The file itself


def test_another_version_is_made_anew(runs, index, tmp_path, monkeypatch):
    night(runs, 1, [Had()])
    index.refresh(folders(runs))
    index.close()
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with Index.open(tmp_path / "history.sqlite") as other:
        assert other.nights() == []
        other.refresh(folders(runs))
        assert len(other.nights()) == 1


@pytest.mark.parametrize(
    "content", [b"no database at all " * 1000, b"", b"SQLite format 3\x00" + b"\xff" * 8000]
)
def test_a_damaged_file_is_made_anew(runs, tmp_path, content):
    night(runs, 1, [Had()])
    path = tmp_path / "history.sqlite"
    path.write_bytes(content)
    with Index.open(path) as index:
        index.refresh(folders(runs))
        assert len(index.nights()) == 1


def test_damage_inside_is_mended_by_the_next_refresh(runs, tmp_path):
    for day in range(1, 29):
        night(runs, day, [Had(case) for case in (TOUCH, SPARSE, BOOT)])
    path = tmp_path / "history.sqlite"
    with Index.open(path) as index:
        index.refresh(folders(runs))
    raw = bytearray(path.read_bytes())
    assert len(raw) > 5 * 4096
    raw[4096:] = b"\x5a" * (len(raw) - 4096)  # all but the page with the tables' names
    path.write_bytes(raw)
    with Index.open(path) as index:
        with pytest.raises(InfraError, match="can be removed"):
            index.nights()
        index.refresh(folders(runs))
        assert len(index.nights()) == 28


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "history.sqlite").mkdir()
    with pytest.raises(InfraError, match="cannot be used"):
        Index.open(tmp_path / "history.sqlite")


REFRESH = """
import sys
from pathlib import Path
from lab.history.index import Index
from lab.results.runfolder import RunFolder
runs = [RunFolder(path) for path in sorted(Path(sys.argv[2]).iterdir())]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    with Index.open(Path(sys.argv[1])) as index:
        index.refresh(runs)
        assert len(index.nights()) == len(runs), index.nights()
        assert all(len(index.cells(night.run)) == 3 for night in index.nights())
"""


def test_two_labs_at_once(runs, tmp_path):
    """Both build the index from nothing at the same moment, and read while the other one writes."""
    for day in range(1, 21):
        night(runs, day, [Had(case) for case in (TOUCH, SPARSE, BOOT)])
    path = tmp_path / "history.sqlite"
    labs = [
        subprocess.Popen(
            [sys.executable, "-c", REFRESH, str(path), str(runs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for lab in labs:
        assert lab.stdout.readline() == "ready\n"
    for lab in labs:
        lab.stdin.write("go\n")
        lab.stdin.flush()
    for lab in labs:
        _, errors = lab.communicate(timeout=60)
        assert lab.returncode == 0, errors
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT COUNT(*) FROM entries").fetchone() == (60,)
        assert connection.execute("SELECT COUNT(*) FROM cells").fetchone() == (3,)
