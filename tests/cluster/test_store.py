# SPDX-License-Identifier: GPL-2.0-or-later
"""The store of a worker: only what its digest says is kept, under no other name, and not too much of it."""

from __future__ import annotations

import hashlib
import os
import resource
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.cluster import store as store_module
from lab.cluster.store import PIECE, Store
from lab.errors import InfraError


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def send(store: Store, data: bytes, *, name: str = "", size: int | None = None, step: int = PIECE) -> bool:
    upload, whole = secrets.token_hex(16), False
    for at in range(0, len(data), step):
        whole = store.receive(upload, name or digest(data), size or len(data), at, data[at : at + step])
    return whole


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", 10_000)


def names(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


@given(data=st.binary(min_size=1, max_size=3000), step=st.integers(1, 700))
def test_what_was_sent_is_kept(tmp_path_factory: pytest.TempPathFactory, data: bytes, step: int) -> None:
    """In whatever pieces; then it is not missing any more, and a job finds it."""
    store = Store(tmp_path_factory.mktemp("store"), 10_000)
    assert store.missing([digest(data)]) == [digest(data)]
    assert send(store, data, step=step)
    assert store.missing([digest(data)]) == []
    job = tmp_path_factory.mktemp("job")
    assert store.link([digest(data)], job)[digest(data)].read_bytes() == data
    assert names(store) == [digest(data)]


def test_what_is_not_its_digest_is_not_kept(store: Store) -> None:
    """A file that differs in one byte leaves nothing behind."""
    with pytest.raises(InfraError, match="got something else than"):
        send(store, b"kernel!", name=digest(b"kernel?"))
    assert names(store) == []


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n", "." * 64, None, 7],
)
def test_a_name_is_a_digest(store: Store, name: object) -> None:
    """No path leads out of the store, on any of its ways."""
    with pytest.raises(InfraError, match="is no digest"):
        store.receive("0" * 32, name, 1, 0, b"x")  # type: ignore[arg-type]
    with pytest.raises(InfraError, match="is no digest"):
        store.missing([name])  # type: ignore[list-item]
    with pytest.raises(InfraError, match="is no digest"):
        store.link([name], store.folder)  # type: ignore[list-item]


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, b"ab"), (3, b"d")],  # a hole
        [(0, b"ab"), (0, b"ab")],  # twice
        [(1, b"b")],  # not from the beginning
        [(0, b"")],
        [(0, b"abcde")],  # more than was announced
    ],
)
def test_pieces_come_in_order(store: Store, pieces: list[tuple[int, bytes]]) -> None:
    """What does not is refused, and nothing of it is kept."""
    with pytest.raises(InfraError, match="the store got a piece"):
        for offset, data in pieces:
            store.receive("0" * 32, digest(b"abcd"), 4, offset, data)
    assert names(store) == []


def test_sizes_are_bounded(store: Store) -> None:
    """A file that the store has no room for is refused before anything is written."""
    with pytest.raises(InfraError, match=r"does not fit .*\n.*--store-limit"):
        send(store, b"x", size=10_001)
    assert not store.folder.exists()


def test_what_was_used_longest_ago_makes_room(store: Store, tmp_path: Path) -> None:
    """Of three files of 4000 bytes the store holds two: not the one that nobody asked for since. A job that
    has it goes on having it."""
    data = [bytes([n]) * 4000 for n in range(3)]
    send(store, data[0])
    send(store, data[1])
    for one, age in ((data[0], 10), (data[1], 20)):
        os.utime(store.folder / digest(one), (time.time() - age, time.time() - age))
    (tmp_path / "old").mkdir()
    (tmp_path / "job").mkdir()
    store.link([digest(data[0])], tmp_path / "job")  # used now
    os.link(store.folder / digest(data[1]), tmp_path / "old/kept")
    send(store, data[2])
    assert names(store) == sorted([digest(data[0]), digest(data[2])])
    assert (tmp_path / "old/kept").read_bytes() == data[1]


def test_damage_is_seen_on_use(store: Store, tmp_path: Path) -> None:
    """A file that changed on the disk is removed, and told; so the next job gets it anew."""
    send(store, b"kernel")
    (store.folder / digest(b"kernel")).write_bytes(b"kerne1")
    with pytest.raises(InfraError, match="was damaged"):
        store.link([digest(b"kernel")], tmp_path)
    assert store.missing([digest(b"kernel")]) == [digest(b"kernel")]


def test_senders_that_died_do_not_block_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were begun and never ended are forgotten after a while, and cannot be too many."""
    monkeypatch.setattr(store_module, "MAX_UPLOADS", 2)
    for upload in ("0" * 32, "1" * 32):
        store.receive(upload, digest(b"ab"), 2, 0, b"a")
    with pytest.raises(InfraError, match="at most 2 files at once"):
        send(store, b"kernel")
    monkeypatch.setattr(store_module, "STALE_SECONDS", 0.0)
    assert send(store, b"kernel")
    assert names(store) == [digest(b"kernel")]


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Lets this process write no file larger than so many bytes, as a full disk would not."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_is_told(store: Store, small_files: Callable[[int], None]) -> None:
    """The error names the file, and nothing half written is left."""
    small_files(1000)
    with pytest.raises(InfraError, match="cannot write"):
        send(store, b"x" * 5000)
    small_files(resource.RLIM_INFINITY)
    assert names(store) == []
