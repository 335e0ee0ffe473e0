# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from lab.errors import InfraError, SpecError, UserError
from lab.spec.catalog import Catalog

CASE = """\
title: t
question: q
workload: w.c
args: ['--driver={driver}']
machines: [qxl]
touches: ['drivers/gpu/drm/ttm/*']
"""


@pytest.fixture
def tree(tmp_path):
    for name, text in {
        "machines/qxl.yaml": "title: QXL\n",
        "include/lab.h": "/* */\n",
        "prefault/w.c": "int main(void) { return 0; }\n",
        "prefault/one.yaml": CASE,
        "prefault/two.yaml": CASE.replace("ttm", "qxl"),
        "smoke/boot.yaml": "title: t\nquestion: q\nmachines: [qxl]\n",
    }.items():
        path = tmp_path / "cases" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "cases"


def test_names_come_from_places(tree):
    """Cases are topic/stem, machines are stems; each knows its file."""
    catalog = Catalog.load(tree)
    assert list(catalog.cases) == ["prefault/one", "prefault/two", "smoke/boot"]
    assert list(catalog.machines) == ["qxl"]
    assert catalog.problems == ()
    case = catalog.case("prefault/one")
    assert (case.name, case.path, case.workload_path) == (
        "prefault/one",
        tree / "prefault/one.yaml",
        tree / "prefault/w.c",
    )
    assert catalog.machine("qxl").path == tree / "machines/qxl.yaml"


def test_select_takes_names_and_topics_once_each(tree):
    """A topic stands for its cases, with or without slash; order is kept, doubles are dropped."""
    catalog = Catalog.load(tree)
    chosen = catalog.select(["smoke/boot", "prefault/", "prefault/one", "prefault"])
    assert [case.name for case in chosen] == ["smoke/boot", "prefault/one", "prefault/two"]
    assert catalog.select([]) == ()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c: c.case("prefault/on"), "there is no case prefault/on\n.*did you mean prefault/one"),
        (lambda c: c.select(["prefalt/one"]), "there is no case prefalt/one\n.*did you mean prefault/one"),
        (lambda c: c.machine("qlx"), "there is no machine qlx\n.*did you mean qxl"),
        (lambda c: c.case("./gone.yaml"), "cannot read .*gone.yaml"),
    ],
)
def test_unknown_names_get_the_nearest(tree, ask, message):
    """A name that does not exist is the user's error, with a suggestion."""
    with pytest.raises(UserError, match=message):
        ask(Catalog.load(tree))


def test_a_broken_file_hides_nothing_but_itself(tree):
    """The other cases work; the broken one is told when asked for, and in problems."""
    (tree / "prefault/two.yaml").write_text("titel: x\n")
    (tree / "prefault/bad.yaml").mkdir()
    catalog = Catalog.load(tree)
    assert catalog.case("prefault/one").title == "t"
    assert list(catalog.cases) == ["prefault/one", "smoke/boot"]
    for ask in (lambda: catalog.case("prefault/two"), lambda: catalog.select(["prefault"])):
        with pytest.raises(SpecError):
            ask()
    assert any("two.yaml:1:1: unknown key 'titel'" in problem for problem in catalog.problems)
    assert any("bad.yaml: Is a directory" in problem for problem in catalog.problems)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[qxl]", "[qlx]", "one.yaml:5:12: there is no machine qlx; did you mean qxl?"),
        ("w.c", "v.c", "one.yaml:3:11: there is no file {}/prefault/v.c; did you mean w.c?"),
        ("{driver}", "{drivr}", "one.yaml:4:8: unknown placeholder {{drivr}}; did you mean driver?"),
        ("workload: w.c\n", "", "one.yaml:3:7: 'args' without a workload"),
    ],
)
def test_cross_checks_tell_the_place(tree, old, new, expected):
    """What only shows beside the other files is told with line and column as well."""
    path = tree / "prefault/one.yaml"
    path.write_text(CASE.replace(old, new))
    (problem,) = Catalog.load(tree).problems
    assert problem.endswith(expected.format(tree))


def test_a_case_outside_the_tree_is_local(tree, tmp_path):
    """A YAML path gives local/STEM; a path into the tree gives the case's own name."""
    mine = tmp_path / "mine.yaml"
    mine.write_text(CASE)
    (tmp_path / "w.c").write_text("int main(void) { return 1; }\n")
    catalog = Catalog.load(tree)
    assert catalog.case(str(mine)).name == "local/mine"
    assert catalog.case(str(tree / "prefault/one.yaml")).name == "prefault/one"
    other = tmp_path / "other" / "mine.yaml"
    other.parent.mkdir()
    other.write_text("title: t\nquestion: q\nmachines: [qxl]\n")
    with pytest.raises(UserError, match="would both be the case local/mine"):
        catalog.select([str(mine), str(other)])


@pytest.mark.parametrize("touched", ["prefault/one.yaml", "prefault/w.c", "include/lab.h"])
def test_digest_follows_every_source(tree, touched):
    """A change of YAML, workload or header makes it another case; nothing else does."""
    before = Catalog.load(tree).case("prefault/one").digest
    (tree / "prefault/two.yaml").unlink()
    assert Catalog.load(tree).case("prefault/one").digest == before
    with (tree / touched).open("a") as handle:
        handle.write("\n")
    assert Catalog.load(tree).case("prefault/one").digest != before


def test_cases_for_paths_matches_patterns(tree):
    """Only cases that say they care for a touched path are chosen."""
    catalog = Catalog.load(tree)
    chosen = catalog.cases_for_paths(["drivers/gpu/drm/ttm/ttm_bo_vm.c", "MAINTAINERS"])
    assert [case.name for case in chosen] == ["prefault/one"]
    assert catalog.cases_for_paths(["drivers/gpu/drm/TTM/x.c"]) == ()


def test_no_folder_is_an_installation_problem(tmp_path):
    """Without testcases the lab is not installed right."""
    with pytest.raises(InfraError, match="there is no folder"):
        Catalog.load(tmp_path / "gone")
