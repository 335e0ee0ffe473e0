# SPDX-License-Identifier: GPL-2.0-or-later
"""stutter_replay on plain memory: its checks can fail, and it reads traces by the same rules as the lab."""

from __future__ import annotations

import functools
import random
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import proc
from lab.errors import UserError
from lab.results.models import Clock
from lab.workload.frame_trace import parse_trace
from lab.workload.ktap import parse
from tests.testcases.conftest import FLAGS, TESTCASES, Report
from tests.workload.bad_traces import BAD, GOOD

STUTTER = TESTCASES / "stutter"
SHIPPED = ("video", "resize", "streaming")
SMALL = """frame-trace 1
rate 1000
create 1 64
map 1
touch 1 w 0+64
frame 0
evict 1
touch 1 w 0+8/8
frame 1
touch 1 w 0+2
create 2 16
map 2
touch 2 w 0+16
frame 2
unmap 1
free 1
end
"""

Replay = Callable[..., Report]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """stutter_replay, built with these further flags."""

    def build(*flags: str) -> Path:
        path = tmp_path_factory.mktemp("stutter") / "stutter_replay"
        source = STUTTER / "stutter_replay.c"
        argv = ["gcc", *FLAGS, *flags, "-I", str(TESTCASES / "include"), "-o", str(path), str(source)]
        proc.run(argv, timeout=120)
        return path

    return build


@pytest.fixture(scope="session")
def plain(program: Callable[..., Path]) -> Path:
    """stutter_replay as it is."""
    return program()


@pytest.fixture(scope="session")
def checked(program: Callable[..., Path]) -> Path:
    """stutter_replay with what gcc can check at run time; that faults, too, so its counts are wrong."""
    return program("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


def play(program: Path, tmp_path: Path, text: str, *args: str) -> Report:
    """Play the text of a trace on plain memory."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    path = tmp_path / "trace"
    path.write_bytes(text.encode("latin-1"))
    argv = [str(program), "--bo", "memfd", "--trace", str(path), *args]
    env = {"LAB_OUT": str(out), "LAB_CLOCK": "functional", "ASAN_OPTIONS": "detect_leaks=0"}
    done = proc.run(argv, timeout=60, check=False, env=env)
    samples = {one.name: one.read_text().splitlines() for one in out.iterdir()}
    return Report(done.code, done.errors, done.text, parse(done.text, Clock("functional")), samples)


@pytest.fixture
def replay(plain: Path, tmp_path: Path) -> Replay:
    """Plays the text of a trace."""
    return functools.partial(play, plain, tmp_path)


@pytest.fixture
def careful(checked: Path, tmp_path: Path) -> Replay:
    """Plays the text of a trace, looking for each wrong access."""
    return functools.partial(play, checked, tmp_path)


def test_sound_run_passes_every_check(replay: Replay) -> None:
    """Each check is made, at each rate, and each frame has the faults that follow from the trace."""
    report = replay(SMALL, "--hz", "500,1000")
    assert report.status == 0, report.text
    names = [f"hz{rate}-{check}" for rate in (500, 1000) for check in ("frames", "touches", "faults")]
    assert list(report.checks) == ["driver", *names, "content", "evict"]
    assert {check.result for check in report.checks.values()} == {"ok"}
    assert report.metrics["hz500_faults"] == 8 + 1 + 16
    assert report.metrics["hz500_faults_max"] == 17
    assert [line.split()[3] for line in report.samples["frames-500.txt"]] == ["faults", "8", "17", "0"]


@pytest.mark.parametrize(
    ("defect", "check"),
    [
        ("skip-touch", "hz1000-touches"),
        ("corrupt", "content"),
        ("lose-frame", "hz1000-frames"),
        ("remap", "hz1000-faults"),
        ("no-evict", "hz1000-faults"),
    ],
)
def test_each_defect_fails_its_check(replay: Replay, defect: str, check: str) -> None:
    """A planted fault is found by the check that is there for it."""
    report = replay(SMALL, "--defect", defect)
    assert report.status == 1
    assert check in report.failed


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_traces_are_what_the_generator_writes(name: str) -> None:
    """The file beside make_traces.py is its own, and valid."""
    built = runpy.run_path(str(STUTTER / "make_traces.py"))[name]()
    assert parse_trace((STUTTER / f"{name}.trace").read_text()) == built


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_traces_play(replay: Replay, name: str) -> None:
    """Each shipped trace plays on plain memory, with all its touches and its content intact."""
    report = replay((STUTTER / f"{name}.trace").read_text(), "--hz", "144")
    assert report.failed == set(), report.text
    assert report.checks["hz144-touches"].result == "ok"


def test_readers_agree_on_the_corners(careful: Replay) -> None:
    """The reader in C takes what the lab takes, and refuses what it refuses, with the same line."""
    for text in GOOD:
        assert careful(text).status in (0, 1), text
    for text, line, _ in BAD:
        report = careful(text)
        assert report.status == 2, text
        assert "runtime error" not in report.stderr
        assert "Sanitizer" not in report.stderr
        assert line == 0 or f"/trace:{line}: " in report.stderr, report.stderr


def test_readers_agree_on_broken_traces(careful: Replay) -> None:
    """Traces with random bytes changed are taken by both readers or by none, and never crash the one in C."""
    chance = random.Random(4)
    taken = 0
    for _ in range(60):
        raw = bytearray(SMALL.encode())
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(14, len(raw))] = chance.choice(b"0123456789 +/%\nwrx#\x00\xff")
        text = raw.decode("latin-1")
        try:
            parse_trace(text)
            wanted = True
        except UserError:
            wanted = False
        report = careful(text, "--hz", "1000")
        assert (report.status != 2) == wanted, (text, report.stderr)
        assert report.status in (0, 1, 2), report.stderr
        assert "Sanitizer" not in report.stderr
        taken += wanted
    assert 0 < taken < 60


def test_missing_device_is_skipped(plain: Path, tmp_path: Path) -> None:
    """Without the device nothing is played, and SKIP says what is missing."""
    path = tmp_path / "trace"
    path.write_text(SMALL)
    argv = [str(plain), "--driver", "no_such_driver", "--trace", str(path)]
    done = proc.run(argv, timeout=30, check=False)
    assert done.code == 4
    assert "no card is driven by no_such_driver" in done.text


@pytest.mark.parametrize(
    "args", [("--hz", "0"), ("--hz", "60,"), ("--hz", "1001"), ("--defect", "none-such"), ("x",)]
)
def test_wrong_options_are_refused(replay: Replay, args: tuple[str, ...]) -> None:
    """Status 2 and a word on stderr."""
    report = replay(SMALL, *args)
    assert report.status == 2
    assert report.stderr
