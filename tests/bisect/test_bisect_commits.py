# SPDX-License-Identifier: GPL-2.0-or-later
"""Commits as a history: merges, first parents, paths, revisions that are none; and git's own replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import proc
from lab.bisect.history import History, members
from lab.bisect.log import git_log
from lab.bisect.noisy import Posterior
from lab.bisect.search import Search
from lab.errors import UserError
from lab.kernel.git_store import Theirs
from lab.results.bisect import Node, Question, Row
from lab.workflow.bisect_plan import commit_nodes, tree_at


class Repository:
    """A small repository with commits that are named by their subjects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.names: dict[str, str] = {}

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@faultlab.example", "-c", "gc.auto=0"]
        return proc.run(["git", "-C", str(self.path), *who, *words], timeout=60).text

    def commit(self, subject: str, file: str) -> None:
        where = self.path / file
        where.parent.mkdir(exist_ok=True)
        where.write_text(f"{subject}\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        self._noted(subject)

    def merge(self, subject: str, branch: str) -> None:
        self.git("merge", "-q", "--no-ff", "-m", subject, branch)
        self._noted(subject)

    def _noted(self, subject: str) -> None:
        self.names[subject] = self.git("rev-parse", "HEAD").strip()

    @property
    def theirs(self) -> Theirs:
        return tree_at(self.path)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    r"""a - b ----- d - m - e - f   main
    \ s1 - s2 /            side"""
    made = Repository(tmp_path_factory.mktemp("git") / "tree")
    made.commit("a", "mm/one.c")
    made.commit("b", "drm/two.c")
    made.git("tag", "good")
    made.git("checkout", "-q", "-b", "side")
    made.commit("s1", "drm/side.c")
    made.commit("s2", "mm/side.c")
    made.git("checkout", "-q", "main")
    made.commit("d", "drm/two.c")
    made.merge("m", "side")
    made.commit("e", "mm/one.c")
    made.commit("f", "drm/two.c")
    return made


def titles(nodes: tuple[Node, ...]) -> list[str]:
    return [node.title for node in nodes]


def history_of(nodes: tuple[Node, ...], *, find_fix: bool = False) -> History:
    return History(
        [node.parents for node in nodes], suspects=[node.suspect for node in nodes], find_fix=find_fix
    )


def test_a_merge_and_both_its_sides(repository: Repository) -> None:
    """Each commit comes after its parents, and contains what they contain."""
    nodes = commit_nodes(repository.theirs, "good", "main")
    assert titles(nodes)[0] == "b"
    assert sorted(titles(nodes)[1:]) == ["d", "e", "f", "m", "s1", "s2"]
    at = {node.title: position for position, node in enumerate(nodes)}
    history = history_of(nodes)
    named = {title: {nodes[n].title for n in members(history.blamed(at[title]))} for title in at}
    assert named["m"] == {"s1", "s2", "d", "m"}
    assert named["s2"] == {"s1", "s2"}
    assert named["d"] == {"d"}
    assert named["b"] == set()
    assert str(repository.path) in nodes[1].subject.kernel
    assert nodes[at["e"]].subject.kernel.endswith(repository.names["e"])


def test_first_parents_alone(repository: Repository) -> None:
    """The side branch is its merge."""
    nodes = commit_nodes(repository.theirs, "good", "main", first_parent=True)
    assert titles(nodes) == ["b", "d", "m", "e", "f"]
    assert history_of(nodes).linear


def test_paths_alone(repository: Repository) -> None:
    """Commits that change nothing there are no suspects, the bad end neither."""
    nodes = commit_nodes(repository.theirs, "good", "main", paths=["mm"])
    suspects = [node.title for node in nodes[1:] if node.suspect]
    assert set(suspects) <= {"s2", "m", "e"}
    assert {"s2", "e"} <= set(suspects)
    assert (nodes[-1].title, nodes[-1].suspect) == ("f", False)
    history = history_of(nodes)
    assert {nodes[n].title for n in members(history.blamed(history.bad_end))} == set(suspects)


def test_ends_that_have_branched_off(repository: Repository) -> None:
    """The merge base takes the place of the good end, as in git."""
    nodes = commit_nodes(repository.theirs, repository.names["s2"], repository.names["d"])
    assert titles(nodes) == ["b", "d"]


@pytest.mark.parametrize(
    ("good", "bad", "options", "problem", "hint"),
    [
        ("good", "gone", {}, "has no revision gone", "did you mean"),
        ("v9.9", "main", {}, "has no revision v9.9", "did you mean|known"),
        ("main", "main", {}, "are the same commit", "two revisions"),
        ("main", "good", {}, "are --good and --bad swapped", "--find-fix"),
        ("good", "main", {"find_fix": True}, "are --good and --bad swapped", "mended"),
        ("good", "main", {"paths": ["net"]}, "no commit between good and main changes net", "--path"),
    ],
)
def test_revisions_between_which_there_is_nothing(
    repository: Repository, good: str, bad: str, options: dict[str, object], problem: str, hint: str
) -> None:
    """Told, with what to do."""
    with pytest.raises(UserError, match=problem) as caught:
        commit_nodes(repository.theirs, good, bad, **options)  # type: ignore[arg-type]
    assert any(word in caught.value.hint for word in hint.split("|"))


def test_a_folder_that_is_no_tree(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is in no git repository"):
        tree_at(tmp_path)
    with pytest.raises(UserError, match="is in no git repository"):
        tree_at(tmp_path / "none")


def replayed(
    repository: Repository, nodes: Sequence[Node], rows: Sequence[Row], culprit: int, **more: object
) -> str:
    """What git says when it replays the log of such a search."""
    usual = {
        "kind": "commits",
        "case": "c",
        "machine": "m",
        "clock": "virtual",
        "good": "good",
        "bad": "main",
    }
    log = repository.path.parent / "git-bisect.log"
    log.write_text(git_log(Question.model_validate(usual | more), nodes, rows, culprit))
    said = repository.git("bisect", "replay", str(log))
    repository.git("bisect", "reset")
    return said


@pytest.mark.parametrize("culprit", ["s1", "s2", "d", "m", "e", "f"])
def test_git_comes_to_the_same_commit(repository: Repository, culprit: str) -> None:
    """The log of a search of a history with a merge, replayed by git, names the commit that was planted."""
    nodes = commit_nodes(repository.theirs, "good", "main")
    history = history_of(nodes)
    at = next(n for n, node in enumerate(nodes) if node.title == culprit)
    search = Search(history, 0.01, Posterior(history, certain=True))
    search.posterior.note(history.bad_end, shown=1)
    search.posterior.note(history.good_end, passed=1)
    rows = []
    while not search.over():
        position = search.next()
        shown = bool(history.blamed(position) >> at & 1)
        search.posterior.note(position, shown=int(shown), passed=int(not shown))
        word = "bad" if shown else "good"
        rows.append(Row(role=nodes[position].role, verdict=word, shown=int(shown), boots=1))  # type: ignore[arg-type]
    assert search.left() == [at]
    said = replayed(repository, nodes, rows, at)
    assert f"{repository.names[culprit]} is the first bad commit" in said


def test_git_understands_a_search_for_a_fix(repository: Repository) -> None:
    """With terms of its own: broken and fixed."""
    nodes = commit_nodes(repository.theirs, "main", "good", find_fix=True, first_parent=True)
    rows = [
        Row(role=nodes[2].role, verdict="bad", shown=1, boots=1),
        Row(role=nodes[3].role, verdict="good", shown=0, boots=1),
    ]
    said = replayed(repository, nodes, rows, 3, good="main", bad="good", find_fix=True, first_parent=True)
    assert f"{repository.names['e']} is the first fixed commit" in said


def test_git_takes_a_kernel_of_the_same_bytes_for_its_twin(repository: Repository) -> None:
    """b good, d good, m skipped, e the same bytes as d: then it is f."""
    nodes = commit_nodes(repository.theirs, "good", "main", first_parent=True)
    rows = [
        Row(role=nodes[1].role, verdict="good", shown=0, boots=1),
        Row(role=nodes[2].role, verdict="skip", shown=0, boots=0),
        Row(role=nodes[3].role, verdict="same", shown=0, boots=0, other=nodes[1].role),
    ]
    said = replayed(repository, nodes, rows, 4, first_parent=True)
    assert f"{repository.names['f']} is the first bad commit" in said
