# SPDX-License-Identifier: GPL-2.0-or-later
"""What people declare in YAML: cases and machines. All frozen, all strict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints

from lab.spec.versions import RANGE_PATTERN

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.+-]*$", max_length=64)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=48)]
Size = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[KMG]$")]
MemoryManager = Literal["ttm", "shmem"]
"""The code behind a GPU driver's BO mappings: TTM, or the GEM shmem helpers."""
Need = Literal["kvm", "vfio", "udmabuf"]
"""What a case asks of the host that runs its QEMU."""
ModuleLine = Annotated[
    str,
    StringConstraints(
        pattern=r"""^[A-Za-z0-9_-]+( [A-Za-z0-9_]+(=[!#-&(-~]+)?)*$""",  # no quotes, no spaces in values
        max_length=512,
    ),
]
"""A kernel module and its parameters: `kvm-amd`, `lab_gpu prefault=512 huge=1`."""
PciName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([0-9a-f]{4}:[0-9a-f]{4}|([0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7])$", max_length=12
    ),
]
"""`1002:7340`, `01:00.0` or `0000:01:00.0`."""
FirmwarePath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_*?][A-Za-z0-9_.*?-]*(/[A-Za-z0-9_*?][A-Za-z0-9_.*?-]*)*$")
]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][!#-&(-~]*$", max_length=256)]
ConfigOption = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$", max_length=64)]
Range = Annotated[str, StringConstraints(pattern=RANGE_PATTERN, max_length=128)]


class Declared(BaseModel):
    """Base of everything read from YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Metric(Declared):
    """One number that the workload reports, and how a change of it is judged."""

    title: str = Field(description="how the table names it, such as 'longest touch'")
    unit: Literal["time", "count", "bytes"] = Field(
        description="time: instructions on the virtual clock, nanoseconds on the real one"
    )
    better: Literal["lower", "higher"] = "lower"
    tolerance: float = Field(0.02, ge=0, le=10, description="a relative change within it is 'same'")
    gate: bool = Field(True, description="false: shown, but cannot fail the verdict")


class Requires(Declared):
    """What a kernel must be for the case to mean anything; on others the trial is SKIP."""

    kernel: Range | None = Field(
        None, description="comparisons of the upstream version, joined by commas: '>=6.1,<6.12'"
    )
    config: tuple[ConfigOption, ...] = Field(
        (), description="options, without CONFIG_, that must be y or m in the kernel's configuration"
    )
    reason: str = Field("", description="why, for whoever reads SKIP")


class Disk(Declared):
    """A zero-filled virtio disk in the host's memory that is gone with the guest: /dev/vda, /dev/vdb, ..."""

    size: Size
    bps: int | None = Field(
        None, ge=1024, le=1 << 30, description="bytes a second that QEMU lets through, on the host's clock"
    )

    @property
    def bytes(self) -> int:
        return size_in_bytes(self.size)


class Resize(Declared):
    """What the host does to an output of the GPU while the guest runs."""

    output: int = Field(0, ge=0, le=15, description="from 0; the GPU's property max_outputs says how many")
    size: Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]{1,3}x[1-9][0-9]{1,3}|off)$")] = Field(
        description="of the monitor that is plugged in, such as 1280x800; off: it is pulled"
    )

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height; zeros where the monitor is pulled."""
        width, _, height = self.size.partition("x")
        return (0, 0) if self.size == "off" else (int(width), int(height))


class Case(Declared):
    """One experiment: a workload with arguments, where it makes sense, and what its numbers mean."""

    title: str = Field(description="one line, for tables")
    question: str = Field(description="what the case answers, in a sentence or two")
    memory_manager: MemoryManager | None = Field(
        None, description="the code that the case is about; other drivers are SKIP. Absent: any"
    )
    workload: str | None = Field(
        None, description="a C file, relative to this YAML; absent: the guest only boots and reports"
    )
    args: tuple[str, ...] = Field(
        (), description="arguments; {driver} stands for the kernel driver of the GPU under test"
    )
    files: dict[Name, str] = Field(
        default_factory=dict,
        max_length=16,
        description="data for the workload: /lab/files/NAME in the guest is this file, relative to this YAML",
    )
    machines: tuple[Name, ...] = Field(min_length=1, description="presets the case runs on by default")
    metrics: dict[MetricName, Metric] = Field(default_factory=dict)
    requires: Requires | None = Field(
        None, description="which kernels the case makes sense on; others are SKIP"
    )
    clock: Literal["virtual", "functional"] | None = Field(
        None,
        description="the only clock the case makes sense on, whatever --clock says; functional: no "
        "instructions are counted and times mean nothing. Absent: any",
    )
    memory: Size | None = Field(None, description="of the guest; absent: the machine's")
    cmdline: tuple[Word, ...] = Field((), description="words added to the guest kernel's command line")
    modules: tuple[ModuleLine, ...] = Field(
        (),
        description="kernel modules to load, in this order, each after what it depends on, with parameters; "
        "also gives parameters to a module that is loaded anyway",
    )
    disks: tuple[Disk, ...] = Field((), max_length=8, description="/dev/vda, /dev/vdb, ...")
    timeout: float = Field(120.0, gt=0, le=3600, description="seconds for the workload, wall time on TCG")
    display: tuple[Resize, ...] = Field(
        (),
        max_length=32,
        description="monitors that are plugged in and pulled, one each time that the workload asks for the "
        "next (kms.h); needs `clock: functional`",
    )
    needs: tuple[Need, ...] = Field(
        (),
        description="what the host must have: kvm, vfio, udmabuf. Where it has not, the case runs in the "
        "nested lab host, which has them; never on the virtual clock",
    )
    exits: bool = Field(
        False,
        description="count guest exits in the spans that the workload announces (span.h); n/a without KVM",
    )
    touches: tuple[str, ...] = Field(
        (), description="path patterns of the kernel source; a series touching one of them runs the case"
    )

    _name: str = PrivateAttr("")
    _path: Path = PrivateAttr(Path())
    _digest: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """`topic/name`, from the file's place below testcases/."""
        return self._name

    @property
    def path(self) -> Path:
        """The YAML file."""
        return self._path

    @property
    def digest(self) -> str:
        """SHA-256 over the YAML and the workload's sources."""
        return self._digest

    @property
    def workload_path(self) -> Path | None:
        return None if self.workload is None else (self._path.parent / self.workload).resolve()

    @property
    def file_paths(self) -> dict[str, Path]:
        """Of `files`, by name."""
        return {name: (self._path.parent / path).resolve() for name, path in self.files.items()}

    def on(self, machine: Machine) -> Machine:
        """The machine as the case wants it."""
        return machine if self.memory is None else machine.model_copy(update={"memory": self.memory})


class Graphics(Declared):
    """A graphics device of the guest's, and what drives it there."""

    device: str
    options: dict[str, str | int | bool] = Field(
        default_factory=dict, description="further properties of QEMU's -device"
    )
    driver: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+$")] = Field(
        description="the name that the DRM driver gives itself (DRM_IOCTL_VERSION)"
    )
    modules: tuple[str, ...] = Field(
        min_length=1,
        description="kernel modules that drive it; the first that the kernel has, or the lab has a driver "
        "of, is taken",
    )
    bus_modules: tuple[str, ...] = Field(
        (), description="modules of its bus, loaded first: no dependency of the driver names them"
    )


class Gpu(Graphics):
    """One emulated graphics device."""

    device: Name = Field(description="QEMU's -device name")
    vram: Size | None = Field(
        None, description="memory of the host that the device takes as its property memdev (ivshmem-plain)"
    )


class Passthrough(Graphics):
    """A device of the host's own that the guest gets, through VFIO (docs/vfio.md)."""

    device: PciName = Field(description="its PCI address, or vendor:device where the host has one of them")
    firmware: tuple[FirmwarePath, ...] = Field(
        (), description="files, or patterns of files, of the host's /lib/firmware that the guest gets"
    )
    without_reset: bool = Field(
        False, description="take it also if it cannot be reset: it may keep what one guest left for the next"
    )


class Device(Declared):
    """An emulated PCI device that is no GPU, such as a port to plug one into."""

    device: Name = Field(description="QEMU's -device name")
    options: dict[str, str | int | bool] = Field(
        default_factory=dict, description="further -device properties"
    )


class Machine(Declared):
    """Declared virtual hardware."""

    title: str
    machine: Literal["pc", "q35"] = "pc"
    cpu: str = "max"
    memory: Size = "512M"
    shared_memory: bool = Field(
        False, description="the guest's memory is a memfd, which blob=true of virtio-gpu is made of"
    )
    devices: tuple[Device, ...] = Field((), description="in front of the GPUs: ports, and other devices")
    gpus: tuple[Gpu, ...] = ()
    passthrough: Passthrough | None = Field(None, description="a device of the host; absent: none")
    iommu: bool = Field(False, description="an emulated IOMMU (Intel's), for VFIO; q35 alone has one")

    _name: str = PrivateAttr("")
    _path: Path = PrivateAttr(Path())

    @property
    def name(self) -> str:
        return self._name

    @property
    def path(self) -> Path:
        return self._path

    @property
    def graphics(self) -> tuple[Graphics, ...]:
        """All GPUs, the passed-through one first: it is what the machine is for."""
        return (*filter(None, (self.passthrough,)), *self.gpus)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the host's memory that are the guest's: its own, and what its GPUs take."""
        vram = (size_in_bytes(gpu.vram) for gpu in self.gpus if gpu.vram is not None)
        return size_in_bytes(self.memory) + sum(vram)


class Image(Declared):
    """A guest's userland: programs out of Debian packages, with the libraries that they need."""

    title: str
    packages: tuple[Name, ...] = Field(description="Debian packages; fetched with their dependencies")
    programs: tuple[str, ...] = Field(description="absolute paths that are taken from the packages")
    folders: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict, description="absolute path -> text")


def size_in_bytes(size: str) -> int:
    """Bytes of a Size such as 64M."""
    return int(size[:-1]) << {"K": 10, "M": 20, "G": 30}[size[-1]]


def module_of(line: str) -> str:
    """The module's name in a ModuleLine, as the kernel shows it."""
    return line.partition(" ")[0].replace("-", "_")
