# SPDX-License-Identifier: GPL-2.0-or-later
"""A real scheduler and real workers on loopback, which boot nothing: who may join, and what is refused."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from services import SECONDS, scheduler, work, worker

from lab import proc
from lab.campaign.executor import Executor
from lab.campaign.schedule import Room
from lab.cluster import link as link_module
from lab.cluster.address import Tls
from lab.cluster.cluster import Cluster, opened_cluster
from lab.cluster.link import connected
from lab.cluster.parts import Part
from lab.cluster.versions import own_versions, with_qemu
from lab.errors import InfraError, UserError
from lab.guest.accelerator import Choice
from lab.guest.prepare import Bench
from lab.guest.qemu import find_qemu
from lab.results.models import Clock
from lab.spec.models import Case


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(find_qemu(), Path("/init"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a scheduler with a worker that has little."""
    folder = tmp_path_factory.mktemp("services")
    with scheduler(folder / "scheduler") as found, worker(folder / "w1", found, "w1", "memory=1024"):
        yield found


@pytest.fixture
def cluster(address: str, bench: Bench) -> Iterator[Cluster]:
    with (
        connected(address, with_qemu(own_versions(), bench.qemu)) as link,
        opened_cluster(link, {}) as found,
    ):
        found.patience = 0.5
        yield found


def test_a_resource_that_nobody_has_is_an_error(cluster: Cluster, bench: Bench, tmp_path: Path) -> None:
    """Soon, with what is missing and what there is; the second time at once."""
    for most in (30.0, 30.0):  # of the 60 that it then would wait
        start = time.monotonic()
        with pytest.raises(InfraError, match=r"no worker has kvm=1; workers: w1 \(.*memory=1024"):
            cluster.run(bench, work(accelerator="kvm"), tmp_path)
        assert time.monotonic() - start < most
        cluster.patience = 60.0
    with pytest.raises(InfraError, match="no worker has memory=4352"):
        cluster.patience = 0.5
        cluster.run(bench, work(memory="4G"), tmp_path)


def test_what_the_cluster_has(cluster: Cluster) -> None:
    """One slot a worker; no KVM, so that real time is functional, and the reason says why."""
    assert cluster.room == Room(1, 0)
    assert cluster.choice("auto").accelerator == "tcg"
    assert "no worker" in cluster.choice("auto").reason
    assert cluster.choice("kvm").accelerator == "kvm"


def test_all_trials_go_there(cluster: Cluster) -> None:
    """Also what this host lacks: whether a worker has it is asked when the trial is run."""
    needy = Case.model_validate(
        {"title": "t", "question": "q", "machines": ("m",), "needs": ("kvm",)}, strict=False
    )
    for case in (needy, work().case):
        place = Executor("dask", cluster, cluster.room).place(case, Choice("tcg", "none"))
        assert (place.carrier, place.elsewhere, place.nested, place.not_run) == (cluster.run, True, False, "")


def test_times_of_two_hosts_are_not_compared(cluster: Cluster, bench: Bench, tmp_path: Path) -> None:
    """A case that was on the real clock on a host which has no worker now is not run on another one."""
    cluster.hosts["a/b", "m"] = "elsewhere"
    with pytest.raises(InfraError, match="elsewhere has no worker any more, and times of two hosts"):
        cluster.run(bench, work(Clock.REAL), tmp_path)
    slots = cluster.link.slots()
    assert cluster._of_one_host(work(Clock.REAL), slots) == []
    cluster.hosts.clear()
    assert cluster._of_one_host(work(Clock.REAL), slots) == slots
    assert cluster.hosts == {("a/b", "m"): os.uname().nodename}


def test_another_version_is_an_error_that_names_who(address: str, bench: Bench) -> None:
    """The scheduler, or the worker: whichever is not what this lab is."""
    ours = with_qemu(own_versions(), bench.qemu)
    with (
        pytest.raises(InfraError, match=rf"the scheduler {address} has faultlab .* \(here 9.9\)"),
        connected(address, {**ours, "faultlab": "9.9"}),
    ):
        pass
    with connected(address, {**ours, "qemu": "5.0"}) as link:
        with pytest.raises(InfraError, match=r"worker w1 \(tcp://.*\) has qemu .* \(here 5\.0\)"):
            link.check()
        assert link.slots() == []  # one that comes later gets no trial


def test_a_worker_of_another_version_does_not_join(address: str, tmp_path: Path) -> None:
    """It ends by itself, with what differs: its sources are not the scheduler's."""
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "sitecustomize.py").write_text(
        "import lab.cluster.versions as v\nv.PACKAGES = (*v.PACKAGES, 'click')\n"
    )
    words = ("worker", "--scheduler", address, "--name", "odd", "--resources", "kvm=0,udmabuf=0")
    env = {**os.environ, "PYTHONPATH": f"{changed}:{Path(__file__).parent.parent.parent}"}
    done = proc.run([sys.executable, "-m", "lab", *words], timeout=SECONDS, check=False, env=env)
    assert done.code == 125
    assert f"the scheduler {address} has click missing (here " in done.errors


def test_nobody_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port where nothing listens: an error within the time that a connection may take."""
    monkeypatch.setattr(link_module, "CONNECT_SECONDS", 1.0)
    start = time.monotonic()
    with (
        pytest.raises(InfraError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"),
        connected("tcp://127.0.0.1:9", own_versions()),
    ):
        pass
    assert time.monotonic() - start < 15


def test_files_reach_a_worker_whole_or_not_at_all(cluster: Cluster) -> None:
    """Larger than one piece; twice sent is sent once; what is not its digest is refused by the worker."""
    data = os.urandom(9 << 20)
    (slot,) = cluster.link.slots()
    part = Part(sha256(data).hexdigest(), len(data), data)
    cluster.link.send(slot.address, slot.host, [part], 30)
    assert not cluster.link._call(slot.address, "lab_missing", digests=[part.digest])["missing"]
    cluster.link.send(slot.address, slot.host, [part], 30)
    with pytest.raises(InfraError, match="got something else than"):
        cluster.link.send(slot.address, slot.host, [Part("0" * 64, len(data), data)], 30)
    with pytest.raises(InfraError, match="is no digest"):
        cluster.link._call(slot.address, "lab_missing", digests=["../../etc/passwd"])


def certificates(folder: Path) -> tuple[Path, Path]:
    """A key, and a certificate that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "faultlab")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    return folder / "cert.pem", folder / "key.pem"


def test_tls_lets_in_who_has_a_certificate(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scheduler, worker and client with certificates of one authority see each other, and files go over it;
    without one, or with another authority's, nobody comes in."""
    cert, key = certificates(tmp_path / "lab")
    files = ("--tls-ca", str(cert), "--tls-cert", str(cert), "--tls-key", str(key))
    ours = with_qemu(own_versions(), bench.qemu)
    with (
        scheduler(tmp_path / "scheduler", *files) as address,
        worker(tmp_path / "w1", address, "w1", "memory=1024", *files),
    ):
        assert address.startswith("tls://")
        with connected(address, ours, Tls(cert, cert, key)) as link:
            (slot,) = link.check()
            x = Part(sha256(b"x").hexdigest(), 1, b"x")
            link.send(slot.address, slot.host, [x], 30)
        monkeypatch.setattr(link_module, "CONNECT_SECONDS", 2.0)
        other_cert, other_key = certificates(tmp_path / "other")
        for tls, there in (
            (Tls(other_cert, other_cert, other_key), address),
            (None, address.replace("tls://", "tcp://")),
        ):
            with pytest.raises(InfraError, match="no scheduler answers"), connected(there, ours, tls):
                pass
        with pytest.raises(UserError, match="do not fit together"), connected(address, ours):
            pass
