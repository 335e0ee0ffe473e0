# SPDX-License-Identifier: GPL-2.0-or-later
"""The series that ship with the lab are whole, fit each other, and are told truly by their index."""

from __future__ import annotations

import email
import email.policy
import re
from pathlib import Path

import pytest

from lab.errors import SpecError, UserError
from lab.kernel.series import Patch, Series, read_series
from lab.spec.series_index import SeriesIndex, load_index, shipped_indexes

TESTCASES = Path(__file__).parents[2] / "testcases"
INDEXES = {index.folder.parent.name: index for index in shipped_indexes(TESTCASES)}
EVERY = [(topic, name) for topic, index in INDEXES.items() for name in index.series]
TWINS = [
    (topic, name)
    for topic, name in EVERY
    if (topic, name.replace("-7.2", "")) in set(EVERY) - {(topic, name)}
]
SIGNED = "\nSigned-off-by: faultlab maintainers <maintainers@faultlab.example>\n---\n"
BLOBS = re.compile(rb"(?m)^diff --git a/(\S+) b/\S+\nindex ([0-9a-f]{12})\.\.([0-9a-f]{12}) 100644$")

every_series = pytest.mark.parametrize(("topic", "name"), EVERY, ids=["/".join(pair) for pair in EVERY])


def series(topic: str, name: str) -> Series:
    return read_series(INDEXES[topic].folder / name)


def blobs(diff: bytes) -> dict[str, tuple[str, str]]:
    """Path -> the blobs before and after."""
    return {path.decode(): (old.decode(), new.decode()) for path, old, new in BLOBS.findall(diff)}


def changed_lines(*patches: Patch) -> list[bytes]:
    lines = (line for patch in patches for line in patch.diff.splitlines())
    return [line for line in lines if line[:1] in (b"+", b"-") and line[:3] not in (b"+++", b"---")]


@every_series
def test_shipped_series_is_fit_to_send(topic: str, name: str) -> None:
    """Each patch has a subject of its subsystem, a wrapped message that is signed, and a diffstat."""
    mails = re.split(r"(?m)^From 0{40} .*\n", (INDEXES[topic].folder / name).read_text())[1:]
    patches = [mail for mail in mails if "\ndiff --git " in mail]
    assert len(patches) == len(series(topic, name).patches)
    assert len(mails) == len(patches) + (len(patches) > 1), "more than one patch want a cover letter"
    for mail in mails:
        message = email.message_from_string(mail, policy=email.policy.default)
        assert re.match(r'\[PATCH( v\d)?( \d/\d)?\] (Revert ")?drm/ttm: \S', message["Subject"])
        assert re.fullmatch(r"<20\d{6}-ttm-[a-z0-9.-]+@faultlab\.example>", message["Message-ID"])
        words, *rest = message.get_content().split("\n---\n", 1)
        assert max(map(len, words.splitlines())) <= 75
        if "\ndiff --git " in mail:
            assert message.get_content().count(SIGNED) == 1
            assert re.search(r"^ \d files? changed, ", rest[0], re.MULTILINE)


@every_series
def test_patches_follow_on_each_other(topic: str, name: str) -> None:
    """What one patch leaves behind is what the next one starts from, blob by blob."""
    left: dict[str, str] = {}
    for patch in series(topic, name).patches:
        found = blobs(patch.diff)
        assert sorted(found) == list(patch.touched)
        for path, (before, after) in found.items():
            assert left.get(path, before) == before
            left[path] = after


def test_series_of_one_release_are_made_from_one_tree() -> None:
    """Series whose first release is the same start from the same blobs, but for those onto another."""
    trees: dict[tuple[str, str], str] = {}
    for topic, name in EVERY:
        entry = INDEXES[topic].one(name)
        if entry.onto is None:
            for path, (before, _) in blobs(series(topic, name).patches[0].diff).items():
                assert trees.setdefault((entry.versions[0], path), before) == before, name


@pytest.mark.parametrize("suffix", ["", "-7.2"])
def test_revert_undoes_what_it_is_onto(suffix: str) -> None:
    """The revert leads from the blob that pmd-size makes to the blob that pmd-size was made from."""
    index = INDEXES["prefault"]
    below, revert = index.to_apply(f"revert-pmd-size{suffix}.mbox")
    there = blobs(read_series(below).patches[0].diff)
    back = blobs(read_series(revert).patches[0].diff)
    assert there == {path: (after, before) for path, (before, after) in back.items()}


@pytest.mark.parametrize(("topic", "twin"), TWINS, ids=["/".join(pair) for pair in TWINS])
def test_twins_are_the_same_change(topic: str, twin: str) -> None:
    """NAME-7.2.mbox adds and removes the very lines of NAME.mbox; only what is around them differs."""
    other = twin.replace("-7.2", "")
    assert changed_lines(*series(topic, twin).patches) == changed_lines(*series(topic, other).patches)
    index = INDEXES[topic]
    assert not set(index.one(twin).versions) & set(index.one(other).versions)


@pytest.mark.parametrize("suffix", ["", "-7.2"])
def test_longer_series_begin_with_the_shorter_ones(suffix: str) -> None:
    """batched, then PMD size, then stop: each series is the one before and a patch more, by patch ids."""
    batched = series("prefault", "batched.mbox").patches
    both = series("prefault", f"batched-pmd-size{suffix}.mbox").patches
    stop = series("prefault", f"stop-at-present{suffix}.mbox").patches
    size = series("prefault", f"pmd-size{suffix}.mbox").patches
    ids = [[patch.patch_id for patch in one] for one in (batched, both, stop)]
    assert ids[1][:1] == ids[0]
    assert ids[2][:2] == ids[1]
    assert changed_lines(both[1]) == changed_lines(size[0])


@every_series
def test_what_is_unsafe_says_so(topic: str, name: str) -> None:
    """A file name, an index and a subject call a series unsafe together or not at all."""
    said = {
        name.startswith("unsafe-"),
        INDEXES[topic].one(name).does.startswith("UNSAFE"),
        "UNSAFE" in series(topic, name).title,
    }
    assert len(said) == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mbox", "b.mbox"):
        (tmp_path / name).touch()
    return tmp_path


def index_of(folder: Path, *entries: str) -> SeriesIndex:
    (folder / "series.yaml").write_text("series:\n" + "".join(f"  {entry}\n" for entry in entries))
    return load_index(folder)


A = 'a.mbox: {does: something, versions: ["6.1", "6.12"]}'
B = 'b.mbox: {does: more, versions: ["6.12"], onto: a.mbox}'


def test_index_is_read(folder: Path) -> None:
    """A good index gives each series, and what has to be applied for it, in order."""
    index = index_of(folder, A, B)
    assert index.one("a.mbox").versions == ("6.1", "6.12")
    assert index.to_apply("a.mbox") == (folder / "a.mbox",)
    assert index.to_apply("b.mbox") == (folder / "a.mbox", folder / "b.mbox")
    with pytest.raises(UserError, match=r"no series c\.mbox"):
        index.one("c.mbox")


BAD = {
    "not in the index": ([A], r"2:3: b\.mbox lies in the folder, but the index does not have it"),
    "no such file": ([A, B, 'c.mbox: {does: x, versions: ["6.1"]}'], r"4:3: there is no file c\.mbox"),
    "onto what is not there": ([A, B.replace("onto: a", "onto: x")], r"3:\d+: there is no series x\.mbox"),
    "onto another release": (
        [A, B.replace('["6.12"]', '["7.2"]')],
        r"3:\d+: a\.mbox is not for 7\.2",
    ),
    "onto itself": ([A, B.replace("onto: a", "onto: b")], r"3:\d+: b\.mbox needs b\.mbox itself"),
    "twice": ([A.replace("6.12", "6.1"), B.replace(", onto: a.mbox", "")], r"2:\d+: 6\.1 is named twice"),
    "a number": ([A.replace('"6.12"', "6.10"), B], r"2:\d+: .*the number `6\.10`; put it in quotes"),
    "a point release": ([A.replace('"6.12"', '"6.12.43"'), B], r"`6\.12\.43` must match"),
    "no release": ([A.replace('"6.1", "6.12"', ""), B], r"too short: 0 of at least 1"),
    "a path": ([A, B, '../c.mbox: {does: x, versions: ["6.1"]}'], r"4:3: .*must match"),
    "an unknown key": ([A.replace("does", "doess"), B], r"2:\d+: unknown key 'doess'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_index(folder: Path, name: str) -> None:
    """What is wrong with an index is told at its place."""
    entries, message = BAD[name]
    with pytest.raises(SpecError, match=message):
        index_of(folder, *entries)


def test_topic_without_an_index(tmp_path: Path) -> None:
    """A folder with series but no index is an error, not a topic without series."""
    (tmp_path / "topic" / "series").mkdir(parents=True)
    with pytest.raises(UserError, match=r"series\.yaml"):
        shipped_indexes(tmp_path)
