# SPDX-License-Identifier: GPL-2.0-or-later
"""Base and patched from one kernel, when a series touches no more than one directory's modules.

Both are rebuilt with the same compiler from the same source, so that like is compared with like; the image
and all other modules stay the distribution's.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from lab import files, log, proc
from lab.errors import InfraError, SeriesError, UserError
from lab.kernel import buildlog, git, planner, sandbox
from lab.kernel.finished import Manifest, intact, write_manifest
from lab.kernel.fit import (
    check_fit,
    has_modversions,
    imports_command,
    parse_modversions,
    parse_undefined,
)
from lab.kernel.kernel import Kernel, canonical, kernel_id
from lab.kernel.module_tools import module_tools
from lab.kernel.series import Patch, Series
from lab.kernel.source_tree import source_directory

# Type information for BPF needs pahole and is not there for the rebuilt module's neighbours either way.
MAKE_FLAGS = ("CONFIG_DEBUG_INFO_BTF_MODULES=",)
SECONDS = 1800
"""How long one build may take."""


class ModulesManifest(Manifest):
    """Of rebuilt modules: NAME.ko, by their canonical names."""

    compiler: str


@dataclass(frozen=True)
class _Job:
    """One build: which modules, from which source, with which patches, against which kernel."""

    base: Kernel
    tree: Path
    what: planner.OneModule
    series: Series | None  # None: the base
    root: Path  # whose compiler and libraries: the host's, or a build root's
    compiler: str  # its version and its linker's: module_tools

    @property
    def headers(self) -> Path:
        assert self.base.headers is not None
        return self.base.headers

    @property
    def kernel_headers(self) -> Path:
        return self.headers / "usr/src" / f"linux-headers-{self.base.record.release}"

    @property
    def patches(self) -> Sequence[Patch]:
        return self.series.patches if self.series else ()

    @property
    def key(self) -> str:
        # The diffs themselves and not their patch ids, which are blind to white space.
        source = (self.tree.parent / "tree.sha256").read_text()
        diffs = files.sha256_text(*[patch.diff for patch in self.patches])
        parts = (source, diffs, self.headers.name, self.compiler, *MAKE_FLAGS, *self.what.modules)
        return files.sha256_text(*parts)[:16]


def build_steps(base: Kernel, series: Series) -> tuple[Kernel, ...]:
    """The base, then the kernel after each patch of the series; the last is the patched kernel.

    Raises SeriesError, naming the first patch that does not apply or after which the tree does not compile;
    UserError if more than a module would have to be built; InfraError if not even the base builds. A series
    that touches nothing that is built gives kernels of the same `build_id`.
    """
    if base.headers is None or base.source_package is None:
        raise InfraError(f"{base.record.name} was obtained without what building needs")
    what = _plan(base, series)
    if isinstance(what, planner.Nothing):
        log.info(f"nothing to build: {what.reason}")
        return base, *(_named(base, series.first(number)) for number in range(1, len(series.patches) + 1))
    tree = source_directory(base.source_package, what.directory)
    assert tree is not None  # the planner has read its Makefile
    root, compiler = module_tools(base)
    begun = [series.first(number) for number in range(1, len(series.patches) + 1)]
    jobs = [_Job(base, tree, what, which, root, compiler) for which in (None, *begun)]
    with ThreadPoolExecutor(2) as pool:
        builds = [pool.submit(_built, job) for job in jobs]
        # In order: the base's failure is told first, for then the series is not to blame.
        finished = [build.result() for build in builds]
    before, *after = (_kernel(base, *built) for built in finished)
    return before, *(_named(kernel, which) for kernel, which in zip(after, begun, strict=True))


def build_step(base: Kernel, series: Series, number: int) -> Kernel:
    """What `build_steps` has at this place, without building the others. Raises as it does."""
    if base.headers is None or base.source_package is None:
        raise InfraError(f"{base.record.name} was obtained without what building needs")
    begun = series.first(number) if number else None
    what, kernel = _plan(base, series), base
    if isinstance(what, planner.OneModule):
        tree = source_directory(base.source_package, what.directory)
        assert tree is not None  # the planner has read its Makefile
        kernel = _kernel(base, *_built(_Job(base, tree, what, begun, *module_tools(base))))
    return kernel if begun is None else _named(kernel, begun)


def _plan(base: Kernel, series: Series) -> planner.Nothing | planner.OneModule:
    package = base.source_package
    assert package is not None

    def makefile(directory: str) -> str | None:
        tree = source_directory(package, directory)
        found = [tree / directory / name for name in ("Kbuild", "Makefile")] if tree else []
        return next((path.read_text(errors="replace") for path in found if path.is_file()), None)

    config = planner.parse_config(base.config.read_text())
    what = planner.plan(series.touched, makefile, config)
    if isinstance(what, planner.Nothing | planner.OneModule):
        return what
    raise UserError(
        f"{series.path} changes {what}; of a packaged kernel the lab rebuilds the modules of one directory",
        hint=f"build the whole kernel instead: --base source:{'.'.join(base.record.version.split('.')[:2])}",
    )


def _kernel(base: Kernel, folder: Path, manifest: ModulesManifest) -> Kernel:
    digests = {name.removesuffix(".ko"): digest for name, digest in sorted(manifest.contents.items())}
    record = base.record.model_copy(
        update={
            "id": kernel_id(base.record.image_sha256, base.record.config_sha256, digests),
            "replaced_modules": digests,
            "module_compiler": manifest.compiler,
            "build_id": files.sha256_text(*[part for item in digests.items() for part in item]),
        }
    )
    return replace(base, record=record, replaced={name: folder / f"{name}.ko" for name in digests})


def _named(kernel: Kernel, series: Series) -> Kernel:
    ids = tuple(patch.patch_id for patch in series.patches)
    record = kernel.record.model_copy(
        update={"name": f"{kernel.record.name} + {series.name}", "patch_ids": ids}
    )
    return replace(kernel, record=record)


def _built(job: _Job) -> tuple[Path, ModulesManifest]:
    """The folder of a finished build, which is made unless it is there and unharmed."""
    final = files.cache_dir("builds") / job.key
    with files.locked(final.with_name(f"{final.name}.lock"), what=f"build {job.key}"):
        manifest = intact(final, ModulesManifest)
        if manifest is None:
            title = f"{job.base.record.name}{f' + {job.series.name}' if job.series else ''}"
            with (
                log.step(f"building {', '.join(job.what.modules)} of {title}"),
                files.made_whole(final) as made,
            ):
                manifest = _build(job, made)
    return final, manifest


def _build(job: _Job, into: Path) -> ModulesManifest:
    with files.scratch(files.cache_dir("builds") / f"{job.key}.work") as work:
        shutil.copytree(job.tree, work / "tree", symlinks=True)
        for patch in job.patches:
            if any(path.startswith(job.what.directory + "/") for path in patch.touched):
                _apply(job, patch, work)
        source = work / "tree" / job.what.directory
        targets = [f"{module}.ko" for module in job.what.modules]
        _make(job, source, targets)
        _sandboxed(job, source, ["strip", "--strip-debug", *targets])
        found = {canonical(target.removesuffix(".ko")): _plain(source / target) for target in targets}
        versions = has_modversions(job.base)
        for module, path in found.items():
            dump = _sandboxed(job, source, imports_command(f"./{path.name}", versions=versions)).text
            check_fit(
                job.base,
                path,
                exports=_plain(source / "Module.symvers"),
                known=job.kernel_headers / "Module.symvers",
                imports=parse_modversions(dump) if versions else parse_undefined(dump),
            )
            shutil.copyfile(path, into / f"{module}.ko")
    names = [f"{module}.ko" for module in found]
    digests = {name: files.sha256_file(into / name) for name in names}
    manifest = ModulesManifest(contents=digests, compiler=job.compiler)
    write_manifest(into, manifest)
    return manifest


def _plain(path: Path) -> Path:
    """A file that the build left: a link could lead the lab to a file of the host."""
    if path.is_symlink() or not path.is_file():
        raise SeriesError(f"the build did not leave a regular file {path.name}", stage="build")
    return path


def _apply(job: _Job, patch: Patch, work: Path) -> None:
    argv = [git.program(), "apply", "-p1", "--whitespace=nowarn", f"--include={job.what.directory}/*"]
    env = {**git.ALONE, "GIT_CEILING_DIRECTORIES": str(work)}  # even if the cache lies inside a repository
    done = proc.run(argv, timeout=60, check=False, data=patch.diff, cwd=work / "tree", env=env)
    if done.code == 0:
        return
    said = [line.removeprefix("error: ") for line in done.errors.splitlines() if line.startswith("error: ")]
    raise SeriesError(
        f"{patch} does not apply to {job.base.record.name}: {said[0] if said else done.errors.strip()}",
        stage="apply",
        evidence=done.errors,
        hint="rebase the series, or name the kernel that it is for with --base",
    )


def _make(job: _Job, source: Path, targets: Sequence[str]) -> None:
    headers = f"/kernel/usr/src/{job.kernel_headers.name}"
    argv = ["make", "-C", headers, "M=/build", f"-j{os.cpu_count() or 1}", *MAKE_FLAGS, *targets]
    kept = files.cache_dir("builds") / f"{job.key}.log"
    common = f"usr/src/{job.kernel_headers.name.removesuffix('amd64')}common"
    mounts = sandbox.at_its_place(job.headers, common, source, job.what.directory)
    done = proc.run(_sandbox(job, source, mounts).argv(argv), timeout=SECONDS, check=False, log=kept)
    if done.code == 0:
        return
    done.check_room()
    error = first_error(done.text, job.what.directory)
    if job.series is None:
        raise InfraError(
            f"{job.base.record.name} does not build even without the series: {error}",
            hint=f"the whole log is {kept}",
        )
    raise SeriesError(
        f"{job.series.name} does not build on {job.base.record.name} with {job.series.last}: {error}",
        stage="build",
        evidence=done.text[-16384:],
        hint=f"the whole log is {kept}",
    )


def _sandbox(job: _Job, source: Path, mounts: Sequence[str] = ()) -> sandbox.Sandbox:
    readable = {"/kernel": job.headers}
    return sandbox.Sandbox(readable, {"/build": source}, chdir="/build", mounts=mounts, root=job.root)


def first_error(text: str, directory: str) -> str:
    """The first error in a build's log, with its path relative to the kernel tree."""
    line = buildlog.first_error(text, {"/build/": f"{directory}/"})
    return re.sub(r"/kernel/usr/src/[^/]+/", "", line)


def _sandboxed(job: _Job, source: Path, command: Sequence[str]) -> proc.Finished:
    """A tool that reads what the build left, which is as little to be trusted as its source."""
    done = proc.run(_sandbox(job, source).argv(command), timeout=60, check=False)
    if done.code != 0:
        raise InfraError(f"{command[0]} failed on the built module: {done.errors.strip()[:500]}")
    return done
