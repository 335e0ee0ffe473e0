# SPDX-License-Identifier: GPL-2.0-or-later
"""A made-up host: folders like those of sysfs and /proc, which answer writes as the kernel does."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from lab.guest.vfio.devices import VFIO, Host


@dataclass(frozen=True)
class MadeUpHost(Host):
    """Devices get the drivers in `likes`; a `stubborn` one takes none; `writes` keeps what was written."""

    likes: dict[str, str] = field(default_factory=dict)  # address -> driver
    stubborn: set[str] = field(default_factory=set)
    writes: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def below(cls, root: Path) -> MadeUpHost:
        host = cls(root / "sys", root / "proc", root / "dev")
        for path in (host.pci / "devices", host.pci / "drivers" / VFIO, host.sys / "module/vfio_iommu_type1"):
            path.mkdir(parents=True)
        host.put(host.sys / "class/iommu/dmar0/name", "dmar0")
        host.put(host.pci / "rescan", "")
        return host

    def put(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def link(self, path: Path, target: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def add(
        self,
        address: str,
        *,
        driver: str = "",
        group: int | None = 7,
        ids: str = "1002:7340",
        kind: int = 0x030000,
        resets: str = "flr bus",
        behind: str = "",
    ) -> Path:
        """A device in its place below /sys/devices; returns its folder."""
        folder = self.sys / "devices/pci0000:00" / behind / address
        vendor, device = ids.split(":")
        values = {"vendor": f"0x{vendor}", "device": f"0x{device}", "class": f"0x{kind:06x}"}
        for name, text in {**values, "driver_override": "(null)\n", "reset_method": resets}.items():
            self.put(folder / name, text)
        self.link(self.folder(address), folder)
        if group is not None:
            groups = self.sys / f"kernel/iommu_groups/{group}"
            groups.mkdir(parents=True, exist_ok=True)
            self.link(folder / "iommu_group", groups)
        if driver:
            self.likes[address] = driver
            self._bind(address, driver)
        return folder

    def driver(self, address: str) -> str:
        link = self.folder(address) / "driver"
        return link.readlink().name if link.is_symlink() else ""

    def opened(self, pid: int, file: str) -> None:
        """Let a made-up process have a file of /dev open."""
        self.put(self.dev / file.removeprefix("/dev/").removesuffix(" (deleted)"), "")
        self.put(self.proc / str(pid) / "comm", "Xorg\n")
        self.link(self.proc / str(pid) / "fd/5", Path(file))

    def write(self, path: Path, text: str) -> None:
        """What the kernel does when this is written."""
        self.writes.append((str(path.relative_to(self.sys)), text))
        if path.name == "unbind":
            (self.folder(text) / "driver").unlink()
        elif path.name == "bind":
            self._probe(text, path.parent.name)
        elif path.name == "drivers_probe":
            override = self.read(self.folder(text) / "driver_override")
            self._probe(text, self.likes.get(text, "") if override in ("", "(null)") else override)
        elif path.name == "driver_override":
            path.write_text("(null)\n" if text == "\n" else text)

    def _probe(self, address: str, driver: str) -> None:
        if driver in self.stubborn:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if driver:
            self._bind(address, driver)

    def _bind(self, address: str, driver: str) -> None:
        drivers = self.pci / "drivers" / driver
        drivers.mkdir(parents=True, exist_ok=True)
        self.link(self.folder(address).resolve() / "driver", drivers)
