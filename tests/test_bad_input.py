# SPDX-License-Identifier: GPL-2.0-or-later
"""What people get wrong, and what goes wrong around them: a message and an exit code, never a traceback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import CommandLine

from lab import files
from lab.results.runfolder import RunFolder, runs_dir

SERIES = files.shipped("testcases") / "prefault/series/pmd-size.mbox"


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capfd)


def no_runs() -> bool:
    """Nothing was begun that would have to be cleaned up or that `latest` would mean."""
    return list(runs_dir().iterdir()) == []


# ---- words on the command line --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["valdate", "x.mbox"], ["there is no command valdate", "did you mean validate?"]),
        (["run", "--trails", "2"], ["--trails", "--trials"]),
        (["run", "--trials", "0"], ["--trials", "1<=x<=1000"]),
        (["run", "--trials", "many"], ["--trials", "'many' is not a valid integer"]),
        (["run", "--accel", "xen"], ["--accel", "'auto', 'kvm', 'tcg'"]),
        (["run", "smoke/bot"], ["there is no case smoke/bot", "did you mean smoke/boot?"]),
        (["run", "nothing/like/it"], ["there is no case nothing/like/it", "known: ", "smoke/boot"]),
        (["run", "--machine", "qx", "smoke/boot"], ["there is no machine qx", "did you mean qxl?"]),
        (["run", "--kernel", "ubuntu", "smoke/boot"], ["unknown kernel", "ubuntu"]),
        (["run", "--kernel", "debian:newest", "smoke/boot"], ["newest is no kernel version", "debian:6.12"]),
        (["run", "--"], ["takes a command", "lab run --machine qxl -- uname -r"]),
        (["run", "--resume", "nix"], ["there is no run nix"]),
        (["run", "--resume", "nix", "smoke/boot"], ["--resume takes its cases"]),
        (["validate"], ["no series was given", "lab validate SERIES.mbox"]),
        (["validate", "--resume", "nix", str(SERIES)], ["--resume takes series and cases from the run"]),
        (["validate", str(SERIES), "smoke/bot"], ["did you mean smoke/boot?"]),
        (["report", "nix"], ["there is no run nix", "lab list runs"]),
        (["compare", "nix", "nux"], ["there is no run nix"]),
        (["list", "houses"], ["'houses' is not one of 'cases', 'machines', 'kernels', 'runs'"]),
        (["schema", "csae"], ["there is no schema csae", "did you mean case?"]),
        (["shell"], ["needs a terminal", "lab run -- COMMAND"]),
    ],
    ids=lambda value: " ".join(Path(word).name for word in value) if value and len(value) < 9 else None,
)
def test_a_wrong_word_is_told_with_the_nearest_right_one(
    lab: CommandLine, words: list[str], answer: list[str]
) -> None:
    """Exit code 2, before anything is fetched, built or booted."""
    lab(*words).check_refusal(2, *answer)
    assert no_runs()


def test_a_run_is_resumed_by_the_command_that_made_it(lab: CommandLine) -> None:
    """`lab run --resume` of a validation names the right line instead of failing inside."""
    sys.path.append(str(Path(__file__).parent / "report"))
    from made_up import pmd_size_run

    run = pmd_size_run(runs_dir())
    name = run.path.name
    lab("run", "--resume", name).check_refusal(
        2, "is a run of `lab validate`", f"lab validate --resume {name}"
    )
    run.write(run.read().model_copy(update={"workflow": "guest"}))
    lab("validate", "--resume", name).check_refusal(2, "was a single boot")


def test_a_damaged_run_is_named(lab: CommandLine) -> None:
    """The record of one run is broken: its file is named, for each command that is asked about it."""
    folder = runs_dir() / "20261121T010203Z-run-stock-beef"
    folder.mkdir()
    (folder / "run.json").write_text('{"id": 3}')
    for words in (["report"], ["compare"], ["run", "--resume"], ["validate", "--resume"]):
        lab(*words, folder.name).check_refusal(125, f"{folder}/run.json is damaged")


# ---- YAML -----------------------------------------------------------------------------------------

CASE = "title: a case\nquestion: What?\nmachines: [qxl]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CASE + "timout: 3\n", "mine.yaml:4:1: unknown key 'timout'; did you mean timeout"),
        (CASE + "timeout: soon\n", "mine.yaml:4:10: timeout: expected a number, found the text `soon`"),
        (
            CASE + "timeout: 1.0\ntimeout: 2.0\n",
            "mine.yaml:5:1: key 'timeout' is given twice, first on line 4",
        ),
        (CASE.replace("[qxl]", "qxl"), "mine.yaml:3:11: machines: expected a list, found the text `qxl`"),
        (CASE.replace("qxl", "qx"), "mine.yaml:3:12: there is no machine qx; did you mean qxl?"),
        (CASE.replace("question: What?\n", ""), "question"),
        ("", "mine.yaml:1:1: the file is empty; it must have: "),
        ("- a\n- list\n", "mine.yaml:1:1: expected keys with values"),
        ("title: [unclosed\n", "mine.yaml:2:1: "),
        ("\tx: 1\n", "mine.yaml:1:1: "),
        ("title: !!python/object/apply:os.system ['touch owned']\n" + CASE, "mine.yaml:1:8: "),
    ],
    ids=["key", "type", "twice", "list", "machine", "missing", "empty", "sequence", "open", "tab", "object"],
)
def test_a_wrong_yaml_file_is_told_with_its_place(
    lab: CommandLine, tmp_path: Path, text: str, problem: str
) -> None:
    """file:line:column, what is wrong, what is meant; exit code 2; nothing in it is run."""
    (tmp_path / "mine.yaml").write_text(text)
    lab("run", "./mine.yaml").check_refusal(2, problem)
    assert not (tmp_path / "owned").exists()
    assert no_runs()


def test_a_wrong_file_among_those_that_ship_hides_no_other(
    lab: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named when cases are listed and when it is asked for; the others can be used."""
    tree = tmp_path / "tree"
    shutil.copytree(files.shipped("testcases"), tree)
    (tree / "smoke/wrong.yaml").write_text(CASE + "timout: 3\n")
    monkeypatch.setattr(files, "shipped", lambda kind: tree if kind == "testcases" else Path(kind))
    listed = lab("list", "cases")
    assert listed.code == 0
    assert "smoke/boot" in listed.stdout
    assert "smoke/wrong.yaml:4:1: unknown key 'timout'" in listed.stderr
    lab("run", "smoke/wrong").check_refusal(2, "smoke/wrong.yaml:4:1: unknown key 'timout'")


def test_a_yaml_file_that_cannot_be_read(lab: CommandLine, tmp_path: Path) -> None:
    """Missing, or a folder with the ending of a file."""
    (tmp_path / "folder.yaml").mkdir()
    lab("run", "none.yaml").check_refusal(2, "cannot read none.yaml: No such file")
    lab("run", "folder.yaml").check_refusal(2, "cannot read folder.yaml: Is a directory")


# ---- series ---------------------------------------------------------------------------------------


def _patch(subject: str) -> bytes:
    return SERIES.read_bytes().replace(b"Subject: [PATCH]", b"Subject: " + subject.encode())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"hello\n", "it is neither an mbox nor a patch"),
        (bytes(range(256)) * 9, "is a binary file, not an mbox"),
        (b"\x1f\x8b" + b"x" * 99, "is compressed"),
        (b"<!DOCTYPE html><html></html>", "is a web page, not an mbox"),
        (SERIES.read_bytes()[:700], "there is no patch in it"),
        (_patch("[PATCH 2/3]"), "is incomplete: patches 1/3, 3/3 are missing; it has 2/3"),
        (_patch("[PATCH 1/2]"), "is incomplete: patch 2/2 is missing; it has 1/2"),
        (SERIES.read_bytes().replace(b"drivers/gpu/drm/ttm/ttm_bo_vm.c", b"../../etc/passwd"), "not usable"),
        (
            SERIES.read_bytes().replace(b"drivers/gpu/drm/ttm", b"net/ipv4"),
            "no case is about what the series",
        ),
    ],
    ids=["empty", "text", "binary", "gzip", "html", "cut", "hole", "end", "escape", "elsewhere"],
)
def test_a_file_that_is_no_series(lab: CommandLine, tmp_path: Path, content: bytes, problem: str) -> None:
    """The file is named with what is wrong and what to do; exit code 2; no run is begun."""
    (tmp_path / "series.mbox").write_bytes(content)
    said = lab("validate", "series.mbox")
    said.check_refusal(2, problem, "  -> ") if b"passwd" not in content else said.check_refusal(2, problem)
    assert no_runs()


def test_a_series_that_cannot_be_read(lab: CommandLine, tmp_path: Path) -> None:
    """A folder without patches, a missing file, and one that only its owner may read."""
    (tmp_path / "folder").mkdir()
    lab("validate", "folder").check_refusal(2, "folder has no *.patch")
    lab("validate", "none.mbox").check_refusal(2, "cannot read none.mbox: No such file")
    (tmp_path / "secret.mbox").write_bytes(SERIES.read_bytes())
    (tmp_path / "secret.mbox").chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root reads every file")
    lab("validate", "secret.mbox").check_refusal(2, "cannot read secret.mbox: Permission denied")


# ---- the host -------------------------------------------------------------------------------------


def _program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "command", [["run", "smoke/boot"], ["run", "--dry-run", "smoke/boot"], ["run", "--", "true"]]
)
def test_qemu_that_is_missing_too_old_or_none(
    lab: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """$QEMU, and what must be installed, are named; exit code 125: it says nothing about a kernel."""
    monkeypatch.setenv("QEMU", "/nonexistent/qemu")
    lab(*command).check_refusal(
        125, "QEMU is missing", "/nonexistent/qemu", "apt-get install qemu-system-x86"
    )
    old = _program(tmp_path / "old", "echo 'QEMU emulator version 5.2.0 (Debian 1:5.2)'")
    monkeypatch.setenv("QEMU", old)
    lab(*command).check_refusal(125, "QEMU is too old: QEMU emulator version 5.2.0", old, "7.0 is needed")
    monkeypatch.setenv("QEMU", _program(tmp_path / "none", "exit 3"))
    lab(*command).check_refusal(125, "does not say its version", "is it QEMU?")


def test_the_doctor_tells_of_all_that_is_missing(lab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One missing thing does not keep the others from being looked at."""
    monkeypatch.setenv("QEMU", "/nonexistent/qemu")
    monkeypatch.setenv("LAB_CACHE", "/dev/null/cache")
    said = lab("doctor", "--no-probe", "--json")
    assert said.code == 125
    states = {finding["what"]: finding["state"] for finding in said.json}
    assert states["qemu"] == states["disk"] == "missing"
    assert states["host"] == "ok"
    assert "Traceback" not in said.stderr


def _confined(setup: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run lab in mount and network namespaces of its own, after `setup`; skips where none can be had."""
    unshare = ["unshare", "--mount", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    if subprocess.run(
        [*unshare, "mount", "-t", "tmpfs", "t", "/mnt"], check=False, capture_output=True
    ).returncode:
        pytest.skip("this user may not make namespaces")
    script = f'{setup}\nexec "$@"'
    argv = [*unshare, "sh", "-ec", script, "sh", sys.executable, "-m", "lab", *words]
    return subprocess.run(
        argv, check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("variable", ["LAB_CACHE", "LAB_STATE"])
@pytest.mark.parametrize(
    ("options", "problem", "hint"),
    [
        ("size=4k,nr_inodes=4", "no space left on the disk of {folder}|the host has no room left", "lab gc"),
        ("ro", "cannot write {folder}.*: Read-only file system", "owner and permissions"),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_that_takes_nothing_more(
    tmp_path: Path, variable: str, options: str, problem: str, hint: str
) -> None:
    """A full or read-only cache or state folder is named, with what to do; exit code 125."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = f"mount -t tmpfs -o {options} small {folder}"
    done = _confined(mount, "run", "smoke/boot", **{variable: str(folder)})
    assert done.returncode == 125, done.stderr
    assert re.search(problem.format(folder=folder), done.stderr), done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mirror_that_cannot_be_reached() -> None:
    """Nothing cached and no network: the index is named as what is missing; the run can be resumed."""
    done = _confined("", "run", "smoke/boot")
    assert done.returncode == 125, done.stderr
    assert "package index unreachable" in done.stderr
    assert "check the network" in done.stderr
    (run,) = [RunFolder(path.parent) for path in runs_dir().glob("2*/run.json")]
    assert f"lab run --resume {run.path.name}" in done.stderr
    assert "Traceback" not in done.stderr
