# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab bisect --tree`: commits of a developer's tree, each built from the objects of the one before."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from labrun import Ran, run_lab
from own_tree import forget

from lab import proc
from lab.kernel.sources import parse_source
from lab.kernel.trees import checked_out
from lab.results.bisect import GIT_LOG_NAME, read_bisect

FAULT = "drivers/gpu/drm/ttm/ttm_bo_vm.c"
DOCUMENT = Path(__file__).parents[2] / "docs" / "bisect.md"
PROT = "\tprot = vma->vm_page_prot;\n"
CASE = "prefault/sparse-touch"

Change = Callable[[str], str]


def inserted(code: str) -> Change:
    """Code in the fault handler, after what is there already."""
    return lambda text: text.replace(PROT, f"{PROT}{code}", 1)


CHANGES: tuple[tuple[str, Change], ...] = (
    ("look at the mapping", inserted("\tbarrier_data(&prot);\n")),
    ("a comment", inserted("\t/* of the whole mapping */\n")),
    ("does not compile", lambda text: text.replace("TTM_BO_VM_NUM_PREFAULT);", "nobody_knows);", 1)),
    ("compiles again", lambda text: text.replace("nobody_knows);", "TTM_BO_VM_NUM_PREFAULT);", 1)),
    ("warn", inserted("\tWARN_ON_ONCE(vmf->flags & FAULT_FLAG_USER);\n")),
    ("look at the fault", inserted("\tbarrier_data(&vmf);\n")),
)


def git(path: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@faultlab.example", "-c", "gc.auto=0"]
    return proc.run(["git", "-C", str(path), *who, *words], timeout=600).text


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """6.12 as a git work tree, and the changes on top; what the lab's cache then holds of it goes with it."""
    folder = tmp_path_factory.mktemp("bisect") / "linux"
    with checked_out(parse_source("source:6.12")) as checked:  # type: ignore[arg-type]
        shutil.copytree(checked.path, folder, symlinks=True)
    git(folder, "init", "-q")
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-q", "-m", "base")
    for subject, change in CHANGES:
        text = (folder / FAULT).read_text()
        assert change(text) != text
        (folder / FAULT).write_text(change(text))
        git(folder, "commit", "-q", "-a", "-m", subject)
    yield folder
    forget(folder)


@pytest.fixture(scope="module")
def ran(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The search between the base and the newest commit, asked for where one stands."""
    state = tmp_path_factory.mktemp("state")
    words = ("bisect", CASE, "--good", "HEAD~6", "--bad", "HEAD")
    return run_lab(*words, state=state, seconds=4 * 3600, folder=tree)


def test_the_commit_is_found(ran: Ran, tree: Path) -> None:
    """The one that does not compile is skipped, the one that changes no byte is not booted."""
    assert ran.code == 0, ran.stderr
    record = read_bisect(ran.run)
    assert record.result is not None
    result = record.result
    assert result.culprit is not None
    assert record.nodes[result.culprit].title == "warn"
    warned = git(tree, "rev-parse", "HEAD~1").strip()
    assert f"#regzbot introduced: {warned}" in ran.stdout
    assert f"tree:{tree}@{warned}" in ran.stdout
    titles = {node.role: node.title for node in record.nodes}
    verdicts = {titles[row.role]: row.verdict for row in result.rows}
    assert verdicts.get("does not compile", "skip") == "skip"
    assert git(tree, "status", "--porcelain") == ""


def test_little_is_spent_beside_builds_and_boots(ran: Ran) -> None:
    """At most a fifth of what builds and boots take."""
    result = read_bisect(ran.run).result
    assert result is not None
    assert result.seconds <= 1.2 * (result.obtaining_seconds + result.booting_seconds)


def test_git_goes_on_from_its_log(ran: Ran, tree: Path) -> None:
    """`git bisect replay` comes to the same commit."""
    said = git(tree, "bisect", "replay", str(ran.run.path / GIT_LOG_NAME))
    git(tree, "bisect", "reset")
    assert f"{git(tree, 'rev-parse', 'HEAD~1').strip()} is the first bad commit" in said


def test_git_bisect_run_finds_it(ran: Ran, tree: Path, tmp_path: Path) -> None:
    """The line of docs/bisect.md, from where a bisection stands that was stopped after both ends: the same
    commit, and the one that does not compile is skipped by exit code 125."""
    (line,) = re.findall(r"^git bisect run sh -c '(.*)'$", DOCUMENT.read_text(), re.MULTILINE)
    whole = (ran.run.path / GIT_LOG_NAME).read_text().splitlines()
    commands = [text for text in whole if text.startswith("git bisect ")]
    assert [text.split()[2] for text in commands[:3]] == ["start", "bad", "good"]
    assert len(commands) > 4
    log = tmp_path / "git-bisect.log"
    log.write_text("\n".join([*commands[:3], ""]))
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "LAB_STATE": str(tmp_path / "state")}
    git(tree, "bisect", "replay", str(log))
    try:
        said = proc.run(
            ["git", "-C", str(tree), "bisect", "run", "sh", "-c", line.replace("CASE", CASE)],
            timeout=2 * 3600,
            env=environment,
        ).text
        told = git(tree, "bisect", "log")
    finally:
        git(tree, "bisect", "reset")
    assert f"{git(tree, 'rev-parse', 'HEAD~1').strip()} is the first bad commit" in said
    verdicts = {commit: word for word, commit in re.findall(r"^# (\w+): \[([0-9a-f]+)\]", told, re.MULTILINE)}
    assert verdicts[git(tree, "rev-parse", "HEAD~1").strip()] == "bad"
    assert verdicts[git(tree, "rev-parse", "HEAD~3").strip()] == "skip"
