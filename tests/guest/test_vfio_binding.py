# SPDX-License-Identifier: GPL-2.0-or-later
"""Taking a device and giving it back on a made-up host: what is written when, and what a kill leaves."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sysfs_tree import MadeUpHost

from lab import files
from lab.errors import InfraError, Interrupted, UserError
from lab.guest.vfio import binding, hold, journal
from lab.guest.vfio.devices import VFIO, Device, find_device
from lab.guest.vfio.hold import passed_through, restore, sweep
from lab.spec.models import Machine, Passthrough
from lab.workflow.vfio import offers

GPU, SOUND, NIC = "0000:01:00.0", "0000:01:00.1", "0000:02:00.0"
MACHINE = Machine(
    title="one", passthrough=Passthrough(device="1002:7340", driver="amdgpu", modules=("amdgpu",))
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUpHost:
    """A GPU with its driver. What only a real IOMMU can answer is not asked, and we count as root."""
    host = MadeUpHost.below(tmp_path)
    host.add(GPU, driver="amdgpu")
    monkeypatch.setattr(hold, "check_group", lambda device, host: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(binding, "SETTLE_SECONDS", 0.2)
    return host


def entry_file() -> Path:
    return files.state_dir("vfio") / f"{GPU}.json"


def test_journal_is_written_before_anything_is_touched(
    host: MadeUpHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write to sysfs finds the entry on the disk, with the former driver and override."""
    host.put(host.folder(GPU) / "driver_override", "amdgpu\n")
    seen: list[str] = []
    act = MadeUpHost.write

    def write(self: MadeUpHost, path: Path, text: str) -> None:
        seen.append(entry_file().read_text())
        act(self, path, text)

    monkeypatch.setattr(MadeUpHost, "write", write)
    device = find_device(host, GPU)
    assert device is not None
    entry = binding.take(device, host)
    assert (host.driver(GPU), len(seen)) == (VFIO, 3)
    assert all('"driver": "amdgpu"' in text and '"override": "amdgpu"' in text for text in seen)
    assert binding.give_back(entry, host) is None
    assert (host.driver(GPU), entry_file().exists()) == ("amdgpu", False)
    assert host.read(host.folder(GPU) / "driver_override") == "amdgpu"


def test_block_gives_back(host: MadeUpHost) -> None:
    """In the block vfio-pci has the device and the machine its address; afterwards all is as before."""
    with passed_through(MACHINE, host) as machine:
        assert machine.passthrough is not None
        assert (machine.passthrough.device, host.driver(GPU)) == (GPU, VFIO)
        assert entry_file().exists()
    assert (host.driver(GPU), entry_file().exists()) == ("amdgpu", False)
    assert host.read(host.folder(GPU) / "driver_override") == "(null)"


@pytest.mark.parametrize("error", [Interrupted, KeyboardInterrupt, InfraError])
def test_block_gives_back_whatever_happens(host: MadeUpHost, error: type[BaseException]) -> None:
    """Also when the user stops it, or when the guest dies."""
    with pytest.raises(error), passed_through(MACHINE, host):
        raise error("as it happens")
    assert (host.driver(GPU), entry_file().exists()) == ("amdgpu", False)


@pytest.mark.parametrize("override", ["", "nvidia"])
def test_former_driver_of_several(host: MadeUpHost, override: str) -> None:
    """Where two drivers fit it goes back to the one that it had, not to the one that a probe would choose."""
    host.put(host.folder(GPU) / "driver_override", "nvidia")
    host.write(host.folder(GPU) / "driver/unbind", GPU)
    host.write(host.pci / "drivers_probe", GPU)
    host.put(host.folder(GPU) / "driver_override", f"{override or '(null)'}\n")
    with passed_through(MACHINE, host):
        assert host.driver(GPU) == VFIO
    assert (host.driver(GPU), journal.entries()) == ("nvidia", [])
    assert host.read(host.folder(GPU) / "driver_override") == (override or "(null)")


def test_without_a_driver(host: MadeUpHost) -> None:
    """A device that had no driver has none again."""
    host.write(host.folder(GPU) / "driver/unbind", GPU)
    host.likes.clear()
    with passed_through(MACHINE, host):
        assert host.driver(GPU) == VFIO
    assert host.driver(GPU) == ""


def test_what_vfio_has_anyway_is_left_alone(host: MadeUpHost) -> None:
    """A device that was bound by hand is used and stays where it is."""
    hold.bind([GPU], without_reset=False, host=host)
    before = len(host.writes)
    with passed_through(MACHINE, host):
        pass
    assert (host.driver(GPU), len(host.writes)) == (VFIO, before)
    ((entry, left),) = restore("01:00.0", host)
    assert (entry.driver, left, host.driver(GPU)) == ("amdgpu", None, "amdgpu")


def test_refused_binding_is_undone(host: MadeUpHost) -> None:
    """When vfio-pci does not take the device it goes back, and the error says what was refused."""
    host.stubborn.add(VFIO)
    with pytest.raises(InfraError, match="could not be taken from amdgpu"), passed_through(MACHINE, host):
        raise AssertionError
    assert (host.driver(GPU), entry_file().exists()) == ("amdgpu", False)


def test_quarantine_and_restore(host: MadeUpHost) -> None:
    """A device that does not come back is named and refused, until restoring it works."""
    with pytest.raises(InfraError, match=f"{GPU} did not come back to amdgpu"), passed_through(MACHINE, host):
        host.stubborn.add("amdgpu")
    entry = journal.read(GPU)
    assert entry is not None and "Input/output error" in entry.quarantined
    assert host.read(host.folder(GPU) / "driver_override") == "(null)"
    with pytest.raises(UserError, match="quarantine"), passed_through(MACHINE, host):
        raise AssertionError
    ((_, left),) = restore("", host)
    assert left is not None and left.lost
    host.stubborn.clear()
    assert restore("", host) == [(entry, None)]
    assert (host.driver(GPU), restore("", host)) == ("amdgpu", [])


def test_dead_device_is_quarantined(host: MadeUpHost) -> None:
    """One that reads as ones has its driver back and still counts as lost, as does one that left the bus."""
    config = host.folder(GPU) / "config"
    with pytest.raises(InfraError, match="does not answer"), passed_through(MACHINE, host):
        config.write_bytes(b"\xff" * 64)
    config.unlink()
    assert restore("", host)[0][1] is None
    with pytest.raises(InfraError, match="no longer on the PCI bus"), passed_through(MACHINE, host):
        host.folder(GPU).unlink()
    assert ("bus/pci/rescan", "1") in host.writes


def test_busy_group_is_not_torn_away(host: MadeUpHost) -> None:
    """While somebody has the group open the device stays with vfio-pci, in quarantine."""
    with pytest.raises(InfraError, match=r"Xorg \(77\) has /dev/vfio/7 open"), passed_through(MACHINE, host):
        host.opened(77, "/dev/vfio/7")
    assert host.driver(GPU) == VFIO
    (host.proc / "77/fd/5").unlink()
    assert restore("", host)[0][1] is None


def test_kernel_that_does_not_answer(host: MadeUpHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that hangs in a write is given up on: nothing waits for it without end."""
    hang = threading.Event()
    monkeypatch.setattr(binding, "WRITE_SECONDS", 0.1)
    act = MadeUpHost.write

    def write(self: MadeUpHost, path: Path, text: str) -> None:
        if path.name == "unbind":
            hang.wait(30)
        act(self, path, text)

    monkeypatch.setattr(MadeUpHost, "write", write)
    with pytest.raises(InfraError, match="has not answered"), passed_through(MACHINE, host):
        raise AssertionError
    hang.set()


def in_child(do: Callable[[], None]) -> None:
    """Run it in a process that is killed by SIGKILL where it kills itself."""
    child = os.fork()
    if child == 0:
        do()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_killed_at_any_point(host: MadeUpHost, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGKILL before each of the writes, or in the block, the next start gives the device back."""
    act = MadeUpHost.write
    left = at

    def write(self: MadeUpHost, path: Path, text: str) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        act(self, path, text)

    def run() -> None:
        monkeypatch.setattr(MadeUpHost, "write", write)
        with passed_through(MACHINE, host):
            os.kill(os.getpid(), signal.SIGKILL)

    in_child(run)
    monkeypatch.setattr(MadeUpHost, "write", act)
    assert entry_file().exists()
    sweep(host)
    assert (host.driver(GPU), entry_file().exists()) == ("amdgpu", False)
    assert host.read(host.folder(GPU) / "driver_override") == "(null)"


def test_sweep_leaves_what_is_not_its(host: MadeUpHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a living lab has, what the user bound by command and what is in quarantine stays."""
    with passed_through(MACHINE, host):
        sweep(host)
        assert (host.driver(GPU), restore("", host)) == (VFIO, [])
        with pytest.raises(InfraError, match="another trial"):
            monkeypatch.setattr(hold, "TURN_SECONDS", 0.2)
            restore(GPU, host)
    hold.bind([GPU, "1002:7340"], without_reset=False, host=host)
    sweep(host)
    assert host.driver(GPU) == VFIO


def test_after_a_reboot_nothing_is_taken(host: MadeUpHost) -> None:
    """An entry of another boot is dropped: drivers were bound anew."""
    journal.write(journal.new_entry(GPU, "amdgpu", "", "run").model_copy(update={"boot_id": "another"}))
    sweep(host)
    assert (host.writes, journal.entries()) == ([], [])


@pytest.mark.parametrize("more", [{"held": "user"}, {"quarantined": "it does not answer any more"}])
def test_after_a_reboot_nothing_is_refused(host: MadeUpHost, more: dict[str, str]) -> None:
    """Nor does an earlier boot's command, or quarantine, count any more: the next start drops the entry."""
    entry = journal.new_entry(GPU, "amdgpu", "", "run")
    journal.write(entry.model_copy(update={"boot_id": "another", **more}))
    assert [offer.state for offer in offers(host)] == ["free"]
    sweep(host)
    assert (host.writes, journal.entries()) == ([], [])


def left_by_a_killed_lab(host: MadeUpHost, address: str = GPU) -> journal.Entry:
    """The device with vfio-pci, and an entry whose owner does not live."""
    device = find_device(host, address)
    assert device is not None
    entry = binding.take(device, host).model_copy(update={"pid": 4194300, "started": 1})
    journal.write(entry)
    return entry


def test_entry_that_another_lab_has_dealt_with(host: MadeUpHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a lab gives one device back another returns the next, and its user binds that: it stays so."""
    host.add(NIC, driver="e1000e", group=8, ids="8086:10d3", kind=0x020000)
    first, second = left_by_a_killed_lab(host), left_by_a_killed_lab(host, NIC)
    give_back = hold.give_back

    def meanwhile(entry: journal.Entry, on: MadeUpHost) -> journal.Entry | None:
        monkeypatch.setattr(hold, "give_back", give_back)
        assert restore(NIC, host) == [(second, None)]
        hold.bind([NIC], without_reset=False, host=host)
        return give_back(entry, on)

    monkeypatch.setattr(hold, "give_back", meanwhile)
    assert restore("", host) == [(first, None), (second, hold.Left("another lab has seen to it meanwhile"))]
    assert host.driver(NIC) == VFIO
    entry = journal.read(NIC)
    assert entry is not None and entry.held == "user"


def test_driver_that_the_user_chose_stays(host: MadeUpHost) -> None:
    """A device that got a third driver after its lab was killed is left with that, and forgotten."""
    entry = left_by_a_killed_lab(host)
    host.write(host.folder(GPU) / "driver/unbind", GPU)
    host.write(host.folder(GPU) / "driver_override", "nvidia")
    host.write(host.pci / "drivers_probe", GPU)
    before = len(host.writes)
    assert restore("", host) == [(entry, hold.Left("it was given to nvidia meanwhile, and stays there"))]
    assert (host.driver(GPU), len(host.writes), journal.entries()) == ("nvidia", before, [])


def test_not_root(host: MadeUpHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root nothing is touched, and that is what is said."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="binding needs root"), passed_through(MACHINE, host):
        raise AssertionError
    with pytest.raises(UserError, match="needs root"):
        restore("", host)
    assert (host.writes, entry_file().exists()) == ([], False)


def test_all_or_none(host: MadeUpHost) -> None:
    """Of two devices that are bound together none stays bound if one cannot be."""
    host.add(SOUND, driver="snd_hda_intel", kind=0x040300)
    with pytest.raises(UserError, match="its IOMMU group 7 has other devices"):
        hold.bind([GPU], without_reset=False, host=host)
    hold.bind([GPU, SOUND], without_reset=False, host=host)
    assert (host.driver(GPU), host.driver(SOUND)) == (VFIO, VFIO)
    assert [left for _, left in restore("", host)] == [None, None]
    assert (host.driver(GPU), host.driver(SOUND)) == ("amdgpu", "snd_hda_intel")


def test_what_binding_could_not_undo_is_named(host: MadeUpHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one device cannot be taken each of the others goes back; the error names those that are lost."""
    host.add(SOUND, driver="snd_hda_intel", kind=0x040300)
    host.add(NIC, driver="e1000e", group=8, kind=0x020000)

    def refuse(device: Device, on: MadeUpHost) -> None:
        host.stubborn.add("amdgpu")
        raise InfraError("the IOMMU does not do it")

    def write_no_more(entry: journal.Entry) -> None:
        if entry.quarantined:
            raise InfraError("no space left on the disk")
        written(entry)

    written = journal.write
    monkeypatch.setattr(hold, "check_group", refuse)
    monkeypatch.setattr(journal, "write", write_no_more)
    lost = rf"the IOMMU does not do it; and {GPU} did not come back to amdgpu: .*Input/output error"
    with pytest.raises(InfraError, match=lost) as told:
        hold.bind([GPU, SOUND, NIC], without_reset=False, host=host)
    assert "lab vfio restore" in told.value.hint
    assert "no space left" in told.value.message
    assert (host.driver(SOUND), host.driver(NIC)) == ("snd_hda_intel", "e1000e")
    assert [entry.address for entry in journal.entries()] == [GPU]
    host.stubborn.clear()
    assert [left for _, left in restore("", host)] == [None]
    assert host.driver(GPU) == "amdgpu"


def test_another_lab_has_it(host: MadeUpHost) -> None:
    """A device that another process holds is refused, with that process; its threads take turns."""
    told, tell = os.pipe()
    end, ended = os.pipe()
    child = os.fork()
    if child == 0:
        with passed_through(MACHINE, host):
            os.write(tell, b"1")
            os.read(end, 1)
        os._exit(0)
    os.read(told, 1)
    held = pytest.raises(UserError, match=rf"another lab uses {GPU} \(process {child}\)")
    with held, passed_through(MACHINE, host):
        raise AssertionError
    os.write(ended, b"1")
    assert os.waitpid(child, 0)[1] == 0
    with passed_through(MACHINE, host):
        pass


def test_trials_of_one_lab_take_turns(host: MadeUpHost) -> None:
    """Two threads that want one device have it one after the other."""
    inside, most = 0, 0

    def trial() -> None:
        nonlocal inside, most
        with passed_through(MACHINE, host):
            inside += 1
            most = max(most, inside)
            inside -= 1

    threads = [threading.Thread(target=trial) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (most, host.driver(GPU)) == (1, "amdgpu")


@pytest.mark.parametrize(
    ("fails", "number", "words"),
    [
        (binding.VFIO_SET_IOMMU, errno.EPERM, r"does not translate interrupts"),
        (
            binding.VFIO_SET_IOMMU,
            errno.ENODEV,
            r"cannot translate for group 7 of 0000:01:00\.0: No such device",
        ),
        (binding.VFIO_GROUP_SET_CONTAINER, errno.EPERM, r"cannot make a container of group 7"),
    ],
)
def test_group_that_qemu_could_not_use(
    host: MadeUpHost, fails: int, number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What VFIO refuses is told before QEMU starts; without interrupt remapping, with the user's choice."""

    def ioctl(handle: int, request: int, argument: object) -> int:
        if request == fails:
            raise OSError(number, os.strerror(number))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    device = find_device(host, GPU)
    assert device is not None
    with pytest.raises(InfraError, match="cannot open group 7"):
        binding.check_group(device, host)
    for name in ("vfio", "7"):
        host.put(host.dev / "vfio" / name, "")
    with pytest.raises(InfraError, match=words) as told:
        binding.check_group(device, host)
    assert ("allow_unsafe_interrupts" in told.value.hint) == ("interrupts" in words)


@pytest.mark.parametrize("text", ["", "{", '{"address": "0000:02:00.0"}', "[]", "x" * 100_000])
def test_broken_journal_is_named(text: str) -> None:
    """An entry that cannot be read is an error with the file's name, never a guess."""
    files.write_whole(entry_file(), text)
    with pytest.raises(InfraError, match=r"0000:01:00\.0\.json"):
        journal.entries()


def test_unreadable_journal_is_named() -> None:
    """So is one that is no file."""
    entry_file().mkdir()
    with pytest.raises(InfraError, match=r"cannot read .*0000:01:00\.0\.json: Is a directory"):
        journal.entries()
