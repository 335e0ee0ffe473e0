# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that need no guest: results on stdout, the rest on stderr, JSON where asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commandline import CommandLine

from lab import files
from lab.cli.main import COMMANDS
from lab.results.runfolder import RunFolder


def test_help_names_every_command(lab: CommandLine) -> None:
    """With one line about each, and the exit codes."""
    said = lab("--help")
    assert said.code == 0
    assert all(name in said.stdout for name in COMMANDS)
    assert "125 cannot tell" in said.stdout


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(lab: CommandLine, name: str) -> None:
    """`lab COMMAND --help` works without a guest, a cache or a network."""
    said = lab(name, "--help")
    assert (said.code, said.stderr) == (0, "")
    assert said.stdout.startswith(f"Usage: lab {name}")


def test_help_is_quick() -> None:
    """`lab --help` loads none of the heavy libraries."""
    code = "import sys\nfrom lab.cli.main import run_command_line\n"
    code += "sys.argv = ['lab', '--help']\nrun_command_line()\n"
    code += "print(sorted({'pydantic', 'yaml', 'paramiko', 'jinja2', 'scipy', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_list_cases_and_machines(lab: CommandLine) -> None:
    """What ships is listed, with columns or as JSON."""
    assert "prefault/first-touch" in lab("list", "cases").stdout
    cases = {row["case"]: row for row in lab("list", "cases", "--json").json}
    assert cases["prefault/first-touch"]["about"] == "ttm"
    machines = {row["machine"] for row in lab("list", "machines", "--json").json}
    assert {"qxl", "bochs", "virtio-gpu", "qxl+virtio-gpu"} <= machines


def test_list_runs_names_a_broken_one_and_goes_on(lab: CommandLine, run: RunFolder) -> None:
    """Garbage among the runs is told on stderr; the rest is listed."""
    for name, text in {
        "a-broken": "{",
        "b-foreign": '{"id": "b-foreign", "colour": "red"}',
        "c-binary": "\0",
    }.items():
        (run.path.parent / name).mkdir()
        (run.path.parent / name / "run.json").write_text(text)
    (run.path.parent / "d-empty").mkdir()
    (run.path.parent / "e-file").write_text("")
    said = lab("list", "runs", "--json")
    assert said.code == 0
    assert [row["run"] for row in said.json] == [run.path.name]
    for name in ("a-broken", "b-foreign", "c-binary"):
        assert f"{name}/run.json is damaged" in said.stderr
    assert "Traceback" not in said.stderr


def test_nothing_to_list_is_no_error(lab: CommandLine) -> None:
    """An empty list is an empty list, on stdout as well."""
    assert lab("list", "runs", "--json").json == []
    said = lab("list", "runs")
    assert (said.code, said.stdout, said.stderr) == (0, "", "none\n")


def test_schema(lab: CommandLine) -> None:
    """All kinds as one object, or one kind alone."""
    everything = lab("schema").json
    assert {"case", "machine"} <= set(everything)
    assert lab("schema", "case").json == everything["case"]


def test_completion(lab: CommandLine, tmp_path: Path) -> None:
    """The script is one that bash understands, and names complete."""
    script = tmp_path / "completion.bash"
    script.write_text(lab("completion", "bash").stdout)
    subprocess.run(["bash", "-n", script], check=True)
    env = {
        **os.environ,
        "_LAB_COMPLETE": "bash_complete",
        "COMP_WORDS": "lab run prefault/f",
        "COMP_CWORD": "2",
    }
    argv = [sys.executable, "-c", "import sys; sys.argv[0] = 'lab'; from lab.cli.main import main; main()"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=env)
    assert done.stdout == "plain,prefault/first-touch\n"


def test_report_and_compare_tell_the_same(lab: CommandLine, run: RunFolder) -> None:
    """Both end with the verdict's exit code, and --json is the one object of verdict.json."""
    report = lab("report", run.path.name)
    assert report.code == 1
    assert report.stdout == (run.path / "report.txt").read_text()
    assert str(run.path) in report.stderr
    as_json = lab("report", run.path.name, "--json")
    assert as_json.json == json.loads((run.path / "verdict.json").read_text())
    compared = lab("compare", run.path, "--json")
    assert (compared.code, compared.json["comparisons"]) == (1, as_json.json["comparisons"])
    assert lab("compare", run.path.name[:20]).stdout != ""


def test_report_of_a_run_with_a_damaged_trial(lab: CommandLine, run: RunFolder) -> None:
    """The damaged trial is named and counts as missing; nothing else is lost."""
    damaged = next(run.path.glob("trials/*sparse-touch-base/trial.json"))
    damaged.write_text(damaged.read_text()[:100])
    said = lab("report", run.path.name)
    assert said.code in (1, 125)
    assert "is damaged" in said.stdout
    assert "prefault/first-touch" in said.stdout


def test_gc_tells_first_and_then_removes(lab: CommandLine, run: RunFolder) -> None:
    """--dry-run removes nothing; then old runs, unused caches and leftovers go, and what is young stays."""
    long_ago = time.time() - 40 * 86400
    old = files.cache_dir("kernels") / "old"
    young = files.cache_dir("kernels") / "young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "vmlinuz").write_bytes(b"x" * 1000)
    os.utime(old / "vmlinuz", (long_ago, long_ago))
    os.utime(run.path / "run.json", (long_ago, long_ago))
    dry = lab("gc", "--dry-run", "--json").json
    assert dry == {"removed": [str(run.path), str(old)], "bytes": dry["bytes"], "dry_run": True}
    assert dry["bytes"] > 1000
    assert old.is_dir()
    assert "would be freed" in lab("gc", "--dry-run").stdout
    assert lab("gc", "--json").json == dry | {"dry_run": False}
    assert not old.exists()
    assert not run.path.exists()
    assert young.is_dir()


def test_gc_leaves_a_run_alone_that_a_lab_is_running(lab: CommandLine, run: RunFolder) -> None:
    """Its lock tells."""
    os.utime(run.path / "run.json", (1, 1))
    with run.owned():
        assert lab("gc", "--json").json["bytes"] == 0
    assert run.path.is_dir()


def test_a_run_that_another_lab_has_is_refused(run: RunFolder) -> None:
    """Two labs resuming one run would run its trials twice."""
    from lab.errors import UserError

    with run.owned(), pytest.raises(UserError, match="is being run by another lab"), run.owned():
        pass


@pytest.mark.parametrize("words", [["--help"], ["list", "cases"], ["schema"], ["report", "latest"]])
def test_output_into_a_closed_pipe_is_no_drama(run: RunFolder, words: list[str]) -> None:
    """`lab ... | head -1` ends quietly, as by SIGPIPE; never with 1, which says that a series is bad."""
    (run.path.parent / "latest").symlink_to(run.path.name)
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", "lab", *words]
    done = subprocess.run(argv, check=False, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode == 141
    assert "Error" not in done.stderr
