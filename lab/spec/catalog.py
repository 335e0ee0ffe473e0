# SPDX-License-Identifier: GPL-2.0-or-later
"""All cases and machines below a testcases folder, found by name.

    testcases/machines/NAME.yaml      a machine
    testcases/TOPIC/STEM.yaml         the case TOPIC/STEM
    testcases/TOPIC/answer.yaml       no case: the tables of the topic (lab.spec.answer)
    testcases/regressions/*.yaml      no cases: good and bad kernels, and a case (lab.spec.regression)
    testcases/include/*.h             headers of every workload
    testcases/driver/NAME/            the lab's own kernel module NAME (lab.spec.drivers)
    testcases/expectations/*.txt      known limitations of kernels (lab.spec.expectations)

One broken file does not hide the others: it is told when it is asked for, and in `Catalog.problems`.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lab import files
from lab.errors import InfraError, SpecError, UserError, did_you_mean
from lab.spec.document import Document, Loc, Problem
from lab.spec.drivers import Driver, load_driver
from lab.spec.expectations import Expectations, load_expectations
from lab.spec.loader import load, load_document, shown, spec_error
from lab.spec.models import Case, Machine, Passthrough, module_of

M = TypeVar("M")
Found = Mapping[str, M | SpecError]
"""By name: what a file declares, or what is wrong with it."""

PLACEHOLDERS = ("driver",)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
REGRESSIONS = "regressions"
"""The folder of a testcases tree with what was good in one kernel and is bad in another."""

NO_TOPICS = frozenset({"machines", "include", "driver", "expectations", REGRESSIONS})
"""Folders of a testcases tree that hold no cases."""

ANSWER = "answer.yaml"
"""The file of a topic that declares its tables."""

MAX_FILE = 16 << 20
"""Bytes of one of a case's files: it is carried in the guest's initramfs."""


@dataclass(frozen=True)
class Catalog:
    """Cases and machines by name."""

    root: Path
    _machines: Found[Machine]
    _cases: Found[Case]
    _drivers: Found[Driver] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path | None = None) -> Catalog:
        """Read every YAML file below `root`, by default the testcases that ship with the lab.

        Raises InfraError if there is no such folder; broken files are kept as `problems`.
        """
        root = files.shipped("testcases") if root is None else root
        if not root.is_dir():
            raise InfraError(f"there is no folder {shown(root)} with cases", hint="reinstall faultlab")
        machines: dict[str, Machine | SpecError] = {}
        for path in sorted(root.glob("machines/*.yaml")):
            machines[path.stem] = _load_or_error(_load_machine, path)
        drivers: dict[str, Driver | SpecError] = {}
        load_one = functools.partial(load_driver, include=root / "include")
        for folder in sorted(path.parent for path in root.glob("driver/*/Kbuild")):
            drivers[folder.name] = _load_or_error(load_one, folder)
        catalog = cls(root, machines, {}, drivers)
        cases: dict[str, Case | SpecError] = {}
        for path in sorted(root.glob("*/*.yaml")):
            if path.parent.name not in NO_TOPICS and path.name != ANSWER:
                name = f"{path.parent.name}/{path.stem}"
                cases[name] = _load_or_error(functools.partial(catalog._load_case, name=name), path)
        return cls(root, machines, cases, drivers)

    @property
    def cases(self) -> dict[str, Case]:
        """Every case that is right, by name."""
        return {name: case for name, case in self._cases.items() if isinstance(case, Case)}

    @property
    def machines(self) -> dict[str, Machine]:
        """Every machine that is right, by name."""
        return {name: one for name, one in self._machines.items() if isinstance(one, Machine)}

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with any file, as `file:line:column: text`."""
        every = [*self._machines.values(), *self._cases.values(), *self._drivers.values()]
        try:
            self.expectations  # noqa: B018 - reading them is the check
        except SpecError as error:
            every.append(error)
        return tuple(problem for one in every if isinstance(one, SpecError) for problem in one.problems)

    def machine(self, name: str) -> Machine:
        """The machine of that name; UserError with the nearest names, or SpecError if its file is broken.

        `vfio@01:00.0` is the machine `vfio` with another device of the host's than its own.
        """
        preset, at, device = name.partition("@")
        machine = _pick(preset, self._machines, "machine")
        return _with_device(machine, device) if at else machine

    def case(self, name: str) -> Case:
        """The case `topic/stem`, or `local/STEM` from the path of a YAML file outside the tree.

        Raises UserError with the nearest names, or SpecError if its file is broken.
        """
        if name.endswith((".yaml", ".yml")):
            return self._case_at(Path(name))
        return _pick(name, self._cases, "case")

    @functools.cached_property
    def expectations(self) -> Expectations:
        """What is known to fail. Raises SpecError with all that is wrong in the files that say so."""
        return load_expectations(self.root, self._cases, self._machines)

    def driver(self, module: str) -> Driver | None:
        """The lab's own kernel module of that name; None if there is none. SpecError if it is broken."""
        found = self._drivers.get(module.replace("-", "_"))
        if isinstance(found, SpecError):
            raise found
        return found

    def drivers_for(self, case: Case | None, machine: Machine) -> tuple[Driver, ...]:
        """The lab's own modules that a guest loads, by the case and by the machine."""
        wanted = [name for gpu in machine.graphics for name in (*gpu.bus_modules, *gpu.modules)]
        wanted += [module_of(line) for line in case.modules] if case is not None else []
        found = (self.driver(name) for name in dict.fromkeys(wanted))
        return tuple(driver for driver in found if driver is not None)

    def select(self, names: Iterable[str]) -> tuple[Case, ...]:
        """The cases of these names, paths or topics (`prefault` or `prefault/`), each once, in this order."""
        chosen: dict[str, Case] = {}
        for name in names:
            members = [one for one in self._cases if one.startswith(name.rstrip("/") + "/")]
            for case in [self.case(one) for one in members or [name]]:
                other = chosen.setdefault(case.name, case)
                if other.path != case.path:
                    raise UserError(
                        f"{shown(other.path)} and {shown(case.path)} would both be the case {case.name}",
                        hint="rename one of them",
                    )
        return tuple(chosen.values())

    def cases_for_paths(self, paths: Iterable[str]) -> tuple[Case, ...]:
        """The cases with a `touches` pattern that matches one of these kernel source paths."""
        touched = tuple(paths)
        return tuple(
            case
            for case in self.cases.values()
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in case.touches for path in touched)
        )

    def _case_at(self, path: Path) -> Case:
        """The case in a file: that of the tree if it lies there, else a local one."""
        for case in self.cases.values():
            if path.resolve() == case.path.resolve():
                return case
        return self._load_case(path, f"local/{path.stem}")

    def _load_case(self, path: Path, name: str) -> Case:
        case, document = load_document(path, Case)
        case._path, case._name = path.absolute(), name
        if problems := _cross_check(case, document, self._machines):
            raise spec_error(path, problems)
        own = {
            driver.name: driver
            for machine in case.machines
            for driver in self.drivers_for(case, self.machine(machine))
        }
        case._digest = _case_digest(case, self.root / "include", own.values())
        return case


def _load_or_error(loader: Callable[[Path], M], path: Path) -> M | SpecError:
    try:
        return loader(path)
    except SpecError as error:
        return error
    except UserError as error:  # unreadable
        return SpecError([error.message])


def _load_machine(path: Path) -> Machine:
    machine = load(path, Machine)
    machine._name, machine._path = path.stem, path.absolute()
    return machine


def _with_device(machine: Machine, device: str) -> Machine:
    if machine.passthrough is None:
        raise UserError(
            f"the machine {machine.name} has no device of the host's to be chosen",
            hint=f"vfio@{device}, or a machine of your own with `passthrough` (docs/vfio.md)",
        )
    try:
        chosen = Passthrough.model_validate(machine.passthrough.model_dump() | {"device": device})
    except ValidationError:
        raise UserError(
            f"{device} is neither a PCI address nor vendor:device", hint="`lab vfio list` shows what there is"
        ) from None
    found = machine.model_copy(update={"passthrough": chosen})
    found._name = f"{machine.name}@{device}"
    return found


def _pick(name: str, found: Found[M], kind: str) -> M:
    if name not in found:
        raise UserError(f"there is no {kind} {name}", hint=did_you_mean(name, found))
    one = found[name]
    if isinstance(one, SpecError):
        raise one
    return one


def _cross_check(case: Case, document: Document, machines: Iterable[str]) -> list[Problem]:
    """What only shows when a case is seen with the files around it."""
    problems: list[Problem] = []

    def tell(loc: Loc, text: str) -> None:
        problems.append(Problem(document.mark(loc), text))

    known = set(machines)
    for index, name in enumerate(case.machines):
        if name not in known:
            tell(("machines", index), f"there is no machine {name}; {did_you_mean(name, known)}")
    if case.workload_path is not None and not case.workload_path.is_file():
        near = did_you_mean(str(case.workload), (one.name for one in case.path.parent.glob("*.c")))
        tell(("workload",), f"there is no file {shown(case.workload_path)}; {near}")
    for index, text in enumerate(case.args):
        for word in _PLACEHOLDER.findall(text):
            if word not in PLACEHOLDERS:
                tell(("args", index), f"unknown placeholder {{{word}}}; {did_you_mean(word, PLACEHOLDERS)}")
    if case.workload is None:
        for key in ("args", "files", "metrics", "exits"):
            if getattr(case, key):
                tell((key,), f"'{key}' without a workload")
    for name, path in case.file_paths.items():
        if not path.is_file():
            tell(("files", name), f"there is no file {shown(path)}")
        elif path.stat().st_size > MAX_FILE:
            tell(("files", name), f"{shown(path)} is larger than {MAX_FILE >> 20} MiB")
    _check_guest(case, tell)
    return problems


def _check_guest(case: Case, tell: Callable[[Loc, str], None]) -> None:
    """Keys about the guest that contradict each other, or themselves."""
    named = [module_of(line) for line in case.modules]
    for index, name in enumerate(named):
        if name in named[:index]:
            tell(("modules", index), f"module {name} is named twice; give all its parameters at once")
    for index, disk in enumerate(case.disks):
        if disk.bps is not None and case.clock != "functional":
            tell(
                ("disks", index, "bps"),
                "a throttle runs on the host's clock: it needs `clock: functional` in the case",
            )
    if case.display and case.clock != "functional":
        tell(("display",), "monitors come on the host's clock: it needs `clock: functional` in the case")
    if case.needs and case.clock == "virtual":
        tell(("needs",), "KVM counts no instructions: what needs it cannot have `clock: virtual`")
    if case.requires is not None:
        if case.requires.kernel is None and not case.requires.config:
            tell(("requires",), "requires nothing; it must have: kernel, config or both")
        for index, option in enumerate(case.requires.config):
            if option.startswith("CONFIG_"):
                tell(("requires", "config", index), f"leave CONFIG_ off: {option.removeprefix('CONFIG_')}")


def _case_digest(case: Case, include: Path, drivers: Iterable[Driver]) -> str:
    """Over all that decides what the case measures: its YAML, its source, every header, its files and the
    lab's own modules that it loads."""
    sources = [case.path, *sorted(include.glob("*.h")), *case.file_paths.values()]
    if case.workload_path is not None:
        sources += [case.workload_path, *sorted(case.workload_path.parent.glob("*.h"))]
    parts: list[str | bytes] = [driver.digest for driver in drivers]
    try:
        for source in sources:
            parts += [source.name, source.read_bytes()]
    except OSError as error:
        raise UserError(f"cannot read {shown(Path(error.filename))}: {error.strerror}") from error
    return files.sha256_text(*parts)
