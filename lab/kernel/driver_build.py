# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own kernel modules (lab.spec.drivers), built for whatever kernel is under test.

One build serves a kernel and the same kernel with patched modules: the headers are those of the stock kernel.
Whether a module fits is asked of each kernel, by its symbols and their versions.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lab import files, log, proc
from lab.errors import InfraError, UserError
from lab.kernel import buildlog
from lab.kernel.finished import Manifest, intact, write_manifest
from lab.kernel.fit import (
    Export,
    has_modversions,
    imports_command,
    misfitting_imports,
    parse_modversions,
    parse_undefined,
    read_symvers,
    vermagic,
)
from lab.kernel.kernel import Ground, Kernel, OpenGround, OwnModule, canonical, module_info, module_name
from lab.kernel.sandbox import Sandbox
from lab.spec.drivers import Driver


class DriverManifest(Manifest):
    """Of one of the lab's own modules."""

    needs: tuple[str, ...]  # stock modules
    imports: dict[str, tuple[str, int]]  # symbol -> the module that had it, its CRC


def with_drivers(kernel: Kernel, drivers: Iterable[Driver]) -> Kernel:
    """The kernel with these modules beside its own, as far as they can be had for it; Kernel.drivers says why
    one cannot. Raises Interrupted only."""
    own = {driver.name: _own_module(kernel, driver) for driver in drivers}
    return replace(kernel, drivers={**kernel.drivers, **own})


def _own_module(kernel: Kernel, driver: Driver) -> OwnModule:
    release = kernel.record.release
    if driver.kernels is not None and not driver.kernels.has(kernel.record.version):
        wanted = driver.kernels.text
        return OwnModule(None, reason=f"the lab's {driver.name} is for Linux {wanted}, not {release}")
    if driver.config and (off := kernel.options_off(driver.config)):
        named = ", ".join(f"CONFIG_{name}" for name in off)
        return OwnModule(None, reason=f"the lab's {driver.name} needs {named}, not set in {release}")
    if kernel.ground is None:
        why = "the lab has neither headers nor objects of it"
        return OwnModule(None, reason=f"the lab's {driver.name} cannot be built for {release}: {why}")
    try:
        if obstacle := kernel.ground.obstacle():
            return OwnModule(
                None, reason=f"the lab's {driver.name} cannot be built for {release}: {obstacle}"
            )
        folder, manifest = _built(_Job(kernel, driver, kernel.ground))
        if changed := _changed_by_series(kernel, manifest):
            symbols = ", ".join(changed[:3])
            return OwnModule(None, reason=f"the series changes what the lab's {driver.name} needs: {symbols}")
    except (InfraError, UserError) as error:
        return OwnModule(None, reason="; ".join(filter(None, (error.message, error.hint))), broken=True)
    return OwnModule(folder / f"{driver.name}.ko", manifest.needs)


@dataclass(frozen=True)
class _Job:
    kernel: Kernel
    driver: Driver
    ground: Ground

    @property
    def key(self) -> str:
        return files.sha256_text(self.driver.name, self.driver.digest, self.ground.identity)[:16]

    @property
    def title(self) -> str:
        return f"the lab's {self.driver.name} for {self.kernel.record.name}"


def _built(job: _Job) -> tuple[Path, DriverManifest]:
    final = files.cache_dir("builds") / f"{job.driver.name}-{job.key}"
    with files.locked(final.with_name(f"{final.name}.lock"), what=job.title, seconds=3600):
        manifest = intact(final, DriverManifest)
        if manifest is None:
            with (
                log.step(f"building {job.title}"),
                job.ground.opened() as ground,
                files.made_whole(final) as made,
            ):
                manifest = _build(job, ground, made)
    return final, manifest


def _build(job: _Job, ground: OpenGround, into: Path) -> DriverManifest:
    name = job.driver.name
    with files.scratch(files.cache_dir("builds") / f"{job.key}.work") as work:
        for folder, paths in (("driver", job.driver.sources), ("include", job.driver.headers)):
            (work / folder).mkdir()
            for path in paths:
                shutil.copyfile(path, work / folder / path.name)
        done = ground.make(work, ["M=/out/driver", "KCFLAGS=-I/out/include", "modules"])
        said = done.text + done.errors
        kept = files.cache_dir("builds") / f"{name}-{job.key}.log"
        files.write_whole(kept, said)
        built = work / "driver" / f"{name}.ko"
        if done.code != 0 or built.is_symlink() or not built.is_file():
            done.check_room()
            error = buildlog.first_error(
                said, {"/out/driver/": f"driver/{name}/", "/out/include/": "include/"}
            )
            raise InfraError(f"{job.title} does not build: {error}", hint=f"the whole log is {kept}")
        _run(ground, work, "strip", "--strip-debug", f"/out/driver/{name}.ko")
        manifest = _checked(job, ground, work, built)
        shutil.copyfile(built, into / f"{name}.ko")
        write_manifest(into, manifest)
    return manifest


def _run(ground: OpenGround, work: Path, *command: str) -> str:
    done = ground.run(work, command)
    if done.code != 0:
        raise InfraError(f"{command[0]} failed on the built module: {done.errors.strip()[:500]}")
    return done.text


def _checked(job: _Job, ground: OpenGround, work: Path, built: Path) -> DriverManifest:
    """Does the module fit into the kernel as it came? InfraError if not: it was built wrongly."""
    kernel = job.kernel
    any_module = next((name for name in ("drm", *kernel.modules.paths) if kernel.modules.find(name)), None)
    stock = kernel.stock_module(any_module) if any_module is not None else None
    if stock is not None and vermagic(built) != vermagic(stock):
        raise InfraError(
            f"{built.name} was built for [{vermagic(built)}], the stock modules for [{vermagic(stock)}]",
            hint="headers and image are not of one version; please report this as a bug of the lab",
        )
    versions = has_modversions(kernel)
    dump = _run(ground, work, *imports_command(f"/out/driver/{built.name}", versions=versions))
    imports = parse_modversions(dump) if versions else parse_undefined(dump)
    known = read_symvers(ground.symvers)
    if wrong := misfitting_imports(imports, known):
        raise InfraError(f"{job.title} asks for other versions of {', '.join(wrong[:5])} than the kernel has")
    needs = [name for text in module_info(built, "depends") for name in text.split(",") if name]
    return DriverManifest(
        contents={f"{job.driver.name}.ko": files.sha256_file(built)},
        needs=tuple(canonical(name) for name in needs),
        imports={name: (module_name(known[name].module), crc) for name, crc in sorted(imports.items())},
    )


def _changed_by_series(kernel: Kernel, manifest: DriverManifest) -> list[str]:
    """Symbols that the module takes from a module that the lab has rebuilt with a series, and that are not
    there any more or have another version: the kernel would refuse to load it."""
    wrong: list[str] = []
    for name, path in kernel.replaced.items():
        wanted = {symbol: crc for symbol, (owner, crc) in manifest.imports.items() if owner == name}
        if wanted:
            there = Sandbox({"/built": path.parent}, {}, chdir="/built")
            shown = proc.run(there.argv(["modprobe", "--show-exports", f"./{path.name}"]), timeout=60).text
            exports = {symbol: Export(crc, name) for symbol, crc in parse_modversions(shown).items()}
            wrong += misfitting_imports(wanted, exports)
    return wrong
