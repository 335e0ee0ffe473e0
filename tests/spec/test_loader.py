# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import SpecError, UserError
from lab.spec.document import MAX_BYTES, parse
from lab.spec.loader import load
from lab.spec.models import Case, Machine

GOOD = """\
title: first touch
question: what does it cost?
memory_manager: ttm
workload: touch.c
args: [--size, "16"]
machines: [qxl]
metrics:
  total: {title: all touches, unit: time, tolerance: 0.05}
timeout: 60
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> Path:
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(path: Path, model=Case) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        load(path, model)
    return caught.value.problems


def test_good_file_becomes_a_frozen_model(written):
    """A right file gives tuples, floats from whole numbers, and defaults."""
    case = load(written(GOOD), Case)
    assert case.args == ("--size", "16")
    assert case.timeout == 60.0
    assert case.metrics["total"].tolerance == 0.05
    assert case.metrics["total"].better == "lower"


MISTAKES = [
    ("metrics:", "metrcs:", "7:1", "unknown key 'metrcs'; did you mean metrics or exits or memory?"),
    (
        "unit: time",
        "unit: tim",
        "8:37",
        "metrics.total.unit: must be 'time', 'count' or 'bytes', found `tim`; did you mean time?",
    ),
    (
        "timeout: 60",
        'timeout: "60"',
        "9:10",
        "timeout: expected a number, found the text `60`; leave the quotes off",
    ),
    ("timeout: 60", "timeout: 0", "9:10", "timeout: must be greater than 0, found 0"),
    (
        "timeout: 60",
        "timeout: 1:30",
        "9:10",
        "the number `1:30`: write a plain decimal number, or text in quotes",
    ),
    (
        "timeout: 60",
        "timeout: .nan",
        "9:10",
        "the number `.nan`: write a plain decimal number, or text in quotes",
    ),
    (
        "title: first touch",
        "title: on",
        "1:8",
        "title: expected text, found `on`, a truth value in YAML; put it in quotes",
    ),
    ('"16"', "16", "5:16", "args.1: expected text, found the number `16`; put it in quotes"),
    ('"16"', "016", "5:16", "the number `016`: write a plain decimal number, or text in quotes"),
    (
        "machines: [qxl]",
        "machines: qxl",
        "6:11",
        "machines: expected a list, found the text `qxl`; write it as [...]",
    ),
    ("machines: [qxl]", "machines: []", "6:11", "machines: too short: 0 of at least 1"),
    ("machines: [qxl]", "machines: [Qxl]", "6:12", "machines.0: `Qxl` must match ^[a-z0-9][a-z0-9_.+-]*$"),
    ("machines: [qxl]\n", "", "1:1", "missing key 'machines': presets the case runs on by default"),
    ("timeout: 60", "title: again", "9:1", "key 'title' is given twice, first on line 1"),
    (
        "timeout: 60",
        "on: 60",
        "9:1",
        "a key must be a word, found `on`, a truth value in YAML; if it is meant, put it in quotes",
    ),
    (
        "timeout: 60",
        "<<: {a: b}",
        "9:1",
        "a key must be a word, found `<<`, a merge, which is not supported; if it is meant, put it in quotes",
    ),
    ("[qxl]", "[&a qxl]", "6:12", "anchor &a: anchors and aliases are not supported"),
    ("[qxl]", "[!!str qxl]", "6:12", "tag tag:yaml.org,2002:str: tags are not supported"),
    ("timeout: 60", "\ttimeout: 60", "9:1", "a tab where YAML wants spaces"),
    ("timeout: 60", "---\na: b", "9:1", "a second document; one file declares one thing"),
    ("first touch", '"a\\x00b"', "1:8", "the text holds the control character U+0000"),
    ("first touch", '"\\uD800"', "1:8", "the text holds the control character U+D800"),
]


@pytest.mark.parametrize(("old", "new", "place", "text"), MISTAKES)
def test_one_mistake_gives_one_sentence_at_its_place(written, old, new, place, text):
    """Each kind of mistake is told once, at line and column, with what to write instead."""
    assert old in GOOD
    assert problems(written(GOOD.replace(old, new, 1))) == (f"c.yaml:{place}: {text}",)


def test_all_problems_come_at_once_in_file_order(written):
    """Mistakes of YAML and mistakes of meaning are told together."""
    found = problems(
        written("title: 5\ntitel: x\nmachines: [a, *x]\nmetrics:\n  a: {title: a, unit: tim, u: 1}\n  a:\n")
    )
    assert [problem.split(": ")[0] for problem in found] == [
        "c.yaml:1:1",
        "c.yaml:1:8",
        "c.yaml:2:1",
        "c.yaml:3:15",
        "c.yaml:5:23",
        "c.yaml:5:28",
        "c.yaml:6:3",
    ]


def test_a_union_is_told_in_one_sentence(written):
    """The members that pydantic tried are joined, without its names for them."""
    text = "title: t\ngpus: [{device: qxl-vga, driver: qxl, modules: [qxl], options: {a: 1.5, b: {c: 1}}}]\n"
    expected = "expected text or a whole number or true or false"
    assert problems(written(text), Machine) == (
        f"c.yaml:2:68: gpus.0.options.a: {expected}, found the number `1.5`; put it in quotes",
        f"c.yaml:2:76: gpus.0.options.b: {expected}, found keys with values",
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "c.yaml:1:1: the file is empty; it must have: title, question, machines"),
        (b"# nothing\n", "c.yaml:1:1: the file is empty; it must have: title, question, machines"),
        (b"- a\n", "c.yaml:1:1: expected keys with values, found a list"),
        (b"just text\n", "c.yaml:1:1: expected keys with values, found the text `just text`"),
        (b"title: \xff\n", "c.yaml:1:8: byte 0xff is not UTF-8"),
        ("titlé: \x07\n".encode(), "c.yaml:1:8: character U+0007 is not allowed in YAML"),
        (b"a: b: c\n", "c.yaml:1:5: not YAML: mapping values are not allowed here"),
        (b"a: " + b"[" * 9999, "c.yaml:1:20: nested more than 16 levels deep"),
        (b"a: b\n" * MAX_BYTES, "c.yaml:1:1: larger than 256 KiB"),
    ],
)
def test_what_is_no_mapping_is_refused(written, raw, expected):
    """Files that are not even a YAML mapping get one sentence."""
    assert problems(written(raw))[0] == expected


def test_alias_bomb_is_refused_without_growing(written):
    """Aliases are told, never followed."""
    bomb = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert any("alias *h" in problem for problem in problems(written(bomb)))


def test_a_file_that_is_not_there_is_the_users_error(tmp_path):
    """A missing file is named; it is not a mistake in YAML."""
    with pytest.raises(UserError, match=r"cannot read .*gone\.yaml: No such file") as caught:
        load(tmp_path / "gone.yaml", Case)
    assert not isinstance(caught.value, SpecError)


def test_paths_outside_the_working_folder_stay_absolute(written, monkeypatch):
    """Only what lies below the working folder is shortened."""
    path = written("a: 1\n")
    monkeypatch.chdir("/")
    assert problems(path)[0].startswith(f"{str(path)[1:]}:1:1: ")
    monkeypatch.chdir("/usr")
    assert problems(path)[0].startswith(f"{path}:1:1: ")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t019.~", max_size=80).map(str.encode)
)
def test_any_bytes_either_load_or_are_told(tmp_path, raw):
    """No input gets another exception than SpecError out of the loader."""
    parse(raw)
    path = tmp_path / "any.yaml"
    path.write_bytes(raw)
    with pytest.raises(SpecError):
        load(path, Case)
