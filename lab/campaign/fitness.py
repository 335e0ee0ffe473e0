# SPDX-License-Identifier: GPL-2.0-or-later
"""Can a case mean anything on this machine with this kernel, and which GPU is it about?"""

from __future__ import annotations

from lab.errors import InfraError
from lab.guest.prepare import driver_module, memory_manager
from lab.kernel.kernel import Kernel, canonical
from lab.spec.models import Case, Graphics, Machine, Requires, module_of
from lab.spec.versions import KernelRange


def skip_reason(case: Case, machine: Machine, kernel: Kernel) -> str:
    """Why the case can mean nothing on this machine with this kernel; "" if it can.

    Raises InfraError if the lab's own driver should be there and could not be built.
    """
    return (
        _unmet(case.requires, kernel)
        or _undriven(machine, kernel)
        or _lacking(case, kernel)
        or _other_manager(case, machine, kernel)
    )


def gpu_under_test(case: Case, machine: Machine, kernel: Kernel) -> Graphics | None:
    """The machine's first GPU whose driver uses the memory manager that the case is about."""
    for gpu in machine.graphics:
        if case.memory_manager is None or memory_manager(gpu, kernel) == case.memory_manager:
            return gpu
    return None


def _unmet(requires: Requires | None, kernel: Kernel) -> str:
    if requires is None:
        return ""
    why = f": {requires.reason}" if requires.reason else ""
    if requires.kernel is not None and not KernelRange.parse(requires.kernel).has(kernel.record.version):
        return f"needs Linux {requires.kernel}, this is {kernel.record.version}{why}"
    if requires.config and (off := kernel.options_off(requires.config)):
        return f"needs {', '.join(f'CONFIG_{name}' for name in off)}{why}"
    return ""


def _undriven(machine: Machine, kernel: Kernel) -> str:
    for gpu in machine.graphics:
        if driver_module(gpu, kernel) is None:
            own = [reason for name in gpu.modules if (reason := _own_reason(name, kernel))]
            return own[0] if own else f"kernel {kernel.record.release} has no driver for {gpu.device}"
    return ""


def _lacking(case: Case, kernel: Kernel) -> str:
    for name in map(module_of, case.modules):
        if not kernel.has_module(name):
            return _own_reason(name, kernel) or f"kernel {kernel.record.release} has no module {name}"
    return ""


def _own_reason(name: str, kernel: Kernel) -> str:
    own = kernel.drivers.get(canonical(name))
    if own is not None and own.broken:
        raise InfraError(own.reason)
    return own.reason if own is not None else ""


def _other_manager(case: Case, machine: Machine, kernel: Kernel) -> str:
    if case.memory_manager is None or gpu_under_test(case, machine, kernel) is not None:
        return ""
    release = kernel.record.release
    found = ", ".join(
        f"{gpu.driver} uses {memory_manager(gpu, kernel) or 'neither TTM nor shmem'}"
        for gpu in machine.graphics
    )
    return f"the case is about {case.memory_manager}; on {release}, {found or 'the machine has no GPU'}"
