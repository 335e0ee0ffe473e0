# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a boot goes to a worker, what a worker must have, and what two ends must agree on."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stand_ins import kernel, launch, trial

from lab.campaign.inside import NO, OK
from lab.campaign.work import Work
from lab.cluster import resources, versions
from lab.cluster.address import Tls, own_address, scheduler_address
from lab.cluster.answers import finished, opened
from lab.cluster.link import _sorted_out
from lab.cluster.parts import Order, localized, parts_of, without_paths
from lab.cluster.store import Store
from lab.cluster.task import Gone, answered
from lab.errors import InfraError, UserError
from lab.guest.accelerator import Choice
from lab.guest.argv import Share
from lab.guest.guest import Boot
from lab.image.initramfs import Initramfs
from lab.results.models import Clock, PlannedTrial
from lab.spec.models import Case, Disk, Machine, Passthrough

TCG, KVM = Choice("tcg", "asked for"), Choice("kvm", "it boots")


def case(**more: Any) -> Case:
    return Case.model_validate({"title": "t", "question": "q", "machines": ("qxl",), **more}, strict=False)


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    """One whose files are there."""
    for name in ("vmlinux", "userland", "modules", "workload"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    cached = tuple(tmp_path / name for name in ("userland", "modules", "workload"))
    made = launch(Machine(title="m"), kernel=str(tmp_path / "vmlinux"))
    return Boot(made, tmp_path / "vmlinux", Initramfs(cached, b"orders"), "nonce")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    planned = PlannedTrial(number=1, key="0001-case", case="a/b", role="k", machine="m", clock=Clock.VIRTUAL)
    return Work(planned, case(), Machine(title="m"), kernel(tmp_path), TCG, tmp_path / "workload")


def order_of(work: Work, boot: Boot, **more: Any) -> Order:
    parts = parts_of(boot)
    sent_work, sent_boot = without_paths(work, boot, parts)
    usual: dict[str, Any] = {"seconds": 1.0, "sending": 0.2, "versions": versions.own_versions()}
    return Order("job", "topic", sent_work, sent_boot, parts[-1].digest, **(usual | more))


def filled(store: Store, boot: Boot) -> Store:
    for number, part in enumerate(parts_of(boot)):
        data = part.source if isinstance(part.source, bytes) else part.source.read_bytes()
        assert store.receive(f"{number:032x}", part.digest, part.size, 0, data)
    return store


def test_a_boot_comes_out_as_it_went_in(boot: Boot, work: Work, tmp_path: Path) -> None:
    """The same bytes in the same order, under the worker's paths and with the worker's QEMU; no path of ours
    is in what is sent."""
    order = order_of(work, boot)
    assert str(tmp_path).encode() not in pickle.dumps(order.boot)
    store = filled(Store(tmp_path / "store"), boot)
    (tmp_path / "job").mkdir()
    store.link(order.digests, tmp_path / "job")
    there = localized(order, tmp_path / "job", "/opt/qemu")
    assert there.kernel.read_bytes() == boot.kernel.read_bytes()
    assert [part.read_bytes() for part in there.initramfs.cached] == [
        part.read_bytes() for part in boot.initramfs.cached
    ]
    assert there.initramfs.orders == b"orders"
    assert there.nonce == boot.nonce
    assert replace(there.launch, qemu=boot.launch.qemu, kernel=boot.launch.kernel) == boot.launch
    assert there.launch.qemu == "/opt/qemu"


def test_an_order_is_small(boot: Boot, work: Work) -> None:
    """The scheduler gets kilobytes, whatever the size of kernel and image."""
    boot.kernel.write_bytes(b"x" * (8 << 20))
    assert len(pickle.dumps(order_of(work, boot))) < 64 << 10


def test_a_guest_that_is_tied_to_its_host_stays(boot: Boot) -> None:
    """One that sees the host's files, or has a port on it."""
    for more in ({"shares": (Share("/", "/"),)}, {"ssh_port": 2222}, {"gdb": "tcp::1234"}):
        with pytest.raises(InfraError, match="tied to its host"):
            parts_of(replace(boot, launch=replace(boot.launch, **more)))


# ---- the worker's side of a job -----------------------------------------------------------------


def about(store: Store) -> Any:
    return SimpleNamespace(store=store, versions=versions.own_versions())


def test_files_that_do_not_come_are_an_error(boot: Boot, work: Work, tmp_path: Path) -> None:
    """In the time that the order gives, with the number of files."""
    store = Store(tmp_path / "cluster/store")
    head, content = answered(order_of(work, boot), about(store), "w1", lambda: True).split(b"\n", 1)
    assert json.loads(head)["host"] == os.uname().nodename
    assert content.startswith(NO + b"on worker w1: 5 files did not arrive within 0 s")


def test_a_job_that_nobody_waits_for_is_left(boot: Boot, work: Work, tmp_path: Path) -> None:
    """Before its files are there, and after."""
    store = Store(tmp_path / "cluster/store")
    with pytest.raises(Gone):
        answered(order_of(work, boot, sending=60.0), about(store), "w1", lambda: False)
    with pytest.raises(Gone):
        answered(order_of(work, boot), about(filled(store, boot)), "w1", lambda: False)
    assert list((tmp_path / "cluster/jobs").iterdir()) == []


def test_what_its_process_could_not_do_is_told(
    boot: Boot, work: Work, tmp_path: Path, monkeypatch: Any
) -> None:
    """A host without QEMU: the error names the worker. A process that dies: its last words."""
    store = filled(Store(tmp_path / "cluster/store"), boot)
    monkeypatch.setenv("QEMU", "no-such-qemu")
    content = answered(order_of(work, boot), about(store), "w1", lambda: True).split(b"\n", 1)[1]
    assert content.startswith(NO + b"on worker w1: QEMU is missing") or b"QEMU is missing" in content
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    content = answered(order_of(work, boot), about(store), "w1", lambda: True).split(b"\n", 1)[1]
    assert content.startswith(NO + b"on worker w1: its process ended with status 1: ")


def test_another_version_is_refused_by_name(boot: Boot, work: Work, tmp_path: Path) -> None:
    """Even where nobody looked before: a worker that came later."""
    order = order_of(work, boot, versions={**versions.own_versions(), "faultlab": "9.9"})
    content = answered(order, about(Store(tmp_path / "store")), "w1", lambda: True).split(b"\n", 1)[1]
    assert content.startswith(NO + b"on worker w1: worker w1 has faultlab ")
    assert b"(here 9.9)" in content


# ---- answers -------------------------------------------------------------------------------------


def test_only_the_answer_to_this_try_counts() -> None:
    """A late answer of another try, or what is no answer at all, is refused; NO is the worker's sentence."""
    assert opened(b'{"job": "a2"}\n' + OK + b"parcel", "a2") == ({"job": "a2"}, b"parcel")
    for answer in (b'{"job": "a1"}\nokparcel', b"", b"[]\nok", b"{\nok", b"\xff\xfe"):
        with pytest.raises(InfraError, match="an answer to another job"):
            opened(answer, "a2")
    with pytest.raises(InfraError, match="on worker w1: no"):
        opened(b'{"job": "a2"}\n' + NO + b"on worker w1: no", "a2")


def test_a_trial_says_who_died_and_is_booted_here_by_hand(boot: Boot, tmp_path: Path) -> None:
    """Deaths become notes; qemu.cmd has this host's paths; started and seconds are the worker's."""
    head = {"host": "h1", "seconds": 2.5, "started": "2026-01-01T00:00:00+00:00"}
    done = finished(trial(), head, ["w7"], boot, tmp_path)
    assert done.notes == ("worker w7 died while it ran this; it was run again",)
    assert (done.seconds, done.started) == (2.5, head["started"])
    assert str(boot.kernel) in (tmp_path / "qemu.cmd").read_text()


# ---- resources -----------------------------------------------------------------------------------


def test_what_a_trial_needs() -> None:
    """Memory of guest, disks and QEMU; KVM, IOMMU, udmabuf and the device where case or machine say so."""
    plain = Machine(title="m", memory="512M")
    assert resources.needed(case(), TCG, plain) == {"memory": 768}
    assert resources.needed(case(disks=(Disk(size="256M"),)), TCG, plain) == {"memory": 1024}
    assert resources.needed(case(), KVM, plain)["kvm"] == 1
    device = Passthrough(device="8086:56A0".lower(), driver="xe", modules=("xe",))
    wanted = resources.needed(
        case(needs=("vfio", "udmabuf")), TCG, plain.model_copy(update={"passthrough": device})
    )
    assert wanted == {"memory": 768, "iommu": 1, "udmabuf": 1, "vfio:8086:56a0": 1}
    by_address = plain.model_copy(update={"passthrough": device.model_copy(update={"device": "01:00.0"})})
    with pytest.raises(UserError, match=r"at another address on each host: 01:00\.0"):
        resources.needed(case(), TCG, by_address)


def test_nobody_has_names_what_and_who() -> None:
    """What no worker has; or that each has a part."""
    workers = {"w1": {"kvm": 1, "memory": 512}, "w2": {"memory": 4096}}
    alone = str(resources.nobody_has({"vfio:8086:56a0": 1, "memory": 1}, workers))
    assert "no worker has vfio:8086:56a0=1; workers: w1 (kvm=1,memory=512), w2 (memory=4096)" in alone
    together = str(resources.nobody_has({"kvm": 1, "memory": 1024}, workers))
    assert "no worker has kvm=1,memory=1024 together" in together
    assert resources.has(workers["w1"], {"kvm": 1}) and not resources.has(workers["w2"], {"kvm": 1})


@pytest.mark.parametrize(
    "text", ["kvm", "kvm=", "kvm=-1", "gpu=1", "vfio:8086=1", "kvm=1;x=2", "memory=1.5", "kvm==1"]
)
def test_a_tag_that_is_none_is_named(text: str) -> None:
    with pytest.raises(UserError, match="is no resource tag"):
        resources.parse(text)


def test_tags_that_were_typed_count() -> None:
    """Over what is found; 0 takes one away, and nothing is tried for it."""
    assert resources.parse("kvm=1, VFIO:8086:56A0=1,memory=4096") == {
        "kvm": 1,
        "vfio:8086:56a0": 1,
        "memory": 4096,
    }
    tags, lacking = resources.offered(resources.parse("kvm=0,udmabuf=0,memory=100"))
    assert tags["memory"] == 100 and not {"kvm", "udmabuf"} & tags.keys()
    assert lacking == []


# ---- versions and addresses ----------------------------------------------------------------------


def worker(**more: Any) -> dict[str, Any]:
    facts = {"versions": dict(versions.own_versions()), "host": "h", "boot": "b"}
    return {"name": "w1", "status": "running", "resources": {}, "faultlab": facts | more}


def test_a_worker_that_is_not_what_we_are_is_named() -> None:
    """Another version of anything, or a worker that dask's own command started."""
    ours = versions.own_versions()
    found, strangers = _sorted_out({"tcp://h:1": worker()}, ours)
    assert [slot.name for slot in found] == ["w1"] and strangers == {}
    for name in ours:
        other = worker(versions={**ours, name: "0.0"})
        found, strangers = _sorted_out({"tcp://h:1": other}, ours)
        assert found == []
        assert strangers["tcp://h:1"] == f"worker w1 (tcp://h:1) has {name} 0.0 (here {ours[name]})"
    plain = {name: value for name, value in worker().items() if name != "faultlab"}
    assert "was not started by `lab worker`" in _sorted_out({"tcp://h:1": plain}, ours)[1]["tcp://h:1"]


def test_two_checkouts_of_one_version_differ(tmp_path: Path) -> None:
    """By the text and by the names of their modules."""
    (tmp_path / "one.py").write_text("a = 1\n")
    digests = {versions.source_digest(tmp_path)}
    (tmp_path / "one.py").write_text("a = 2\n")
    digests.add(versions.source_digest(tmp_path))
    (tmp_path / "one.py").rename(tmp_path / "two.py")
    digests.add(versions.source_digest(tmp_path))
    assert len(digests) == 3
    assert "(sources " in versions.own_versions()["faultlab"]


@pytest.mark.parametrize(
    ("text", "tls", "wanted"),
    [
        ("tcp://10.0.0.1:8786", False, "tcp://10.0.0.1:8786"),
        ("10.0.0.1", False, "tcp://10.0.0.1:8786"),
        ("lab.example:9000", True, "tls://lab.example:9000"),
        ("tls://[fd00::1]:9000", True, "tls://[fd00::1]:9000"),
    ],
)
def test_addresses(text: str, tls: bool, wanted: str) -> None:
    assert scheduler_address(text, tls=tls) == wanted


@pytest.mark.parametrize(
    "text", ["", "http://h:1", "tcp://h:0", "tcp://h:99999", "tcp://h:1/x", "h h", "tcp://"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UserError, match="is no scheduler's address"):
        scheduler_address(text, tls=False)


def test_tls_is_all_or_nothing(tmp_path: Path) -> None:
    """A part of the files, a file that is not there, or an address of the other kind is told."""
    assert Tls.of(None, None, None) is None
    with pytest.raises(UserError, match="all of --tls-ca"):
        Tls.of(tmp_path, None, None)
    with pytest.raises(UserError, match="cannot read"):
        Tls.of(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    with pytest.raises(UserError, match="do not fit together"):
        scheduler_address("tcp://h:1", tls=True)
    with pytest.raises(UserError, match="do not fit together"):
        scheduler_address("tls://h:1", tls=False)


def test_a_worker_listens_where_its_scheduler_is() -> None:
    """On loopback for loopback; a host that is not known is told."""
    assert own_address("tcp://127.0.0.1:8786") == "127.0.0.1"
    with pytest.raises(UserError, match="no way to"):
        own_address("tcp://no-such-host.invalid:1")
