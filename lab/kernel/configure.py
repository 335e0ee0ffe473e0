# SPDX-License-Identifier: GPL-2.0-or-later
"""From fragments to a kernel's final configuration, and which of the requested options did not survive."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab import files
from lab.errors import InfraError, UserError
from lab.kernel.buildlog import bad_compiler, first_error
from lab.kernel.kconfig import Composed, Request, compose, debug_options, lost
from lab.kernel.kconfig_depends import KconfigFiles, explain
from lab.kernel.objects import ObjectTree
from lab.kernel.planner import parse_config
from lab.kernel.work_copy import SourceTree

# Files that decide what a set of requests comes to: kbuild's own, and what asks the compiler.
DECIDING = re.compile(r"(.*/)?Kconfig[^/]*|scripts/.*|(arch/x86/)?Makefile[^/]*|.*/configs/.*")
SHOWN = 12


@dataclass(frozen=True)
class Config:
    """A final configuration."""

    name: str  # "lean+drm"
    text: str

    @cached_property
    def values(self) -> dict[str, str]:
        return parse_config(self.text)

    @property
    def digest(self) -> str:
        return files.sha256_text(self.text)

    @property
    def debug_options(self) -> tuple[str, ...]:
        """What makes times of this kernel meaningless."""
        return debug_options(self.values)


def decides_config(paths: Iterable[str]) -> bool:
    """Can a change of these files change what a configuration comes to?"""
    return any(DECIDING.fullmatch(path) for path in paths)


def kept_config(tree: SourceTree, objects: ObjectTree, changes: str) -> Config | None:
    """The configuration, if it was computed before; `changes` as in `configure`."""
    composed = compose(objects.kconfig, tree.version)
    try:
        return Config(composed.name, _kept(tree, objects, composed, changes).read_text())
    except OSError:
        return None


def configure(tree: SourceTree, objects: ObjectTree, changes: str) -> Config:
    """Compute the configuration of the tree as it is now, check it, and put it where make looks for it.

    `changes` is a digest of what was changed in the tree beside its identity, "" for nothing. Raises
    UserError that names each option that did not survive and why, InfraError if kbuild fails.
    """
    config = kept_config(tree, objects, changes)
    if config is None:
        composed = compose(objects.kconfig, tree.version)
        config = Config(composed.name, _computed(tree, objects, composed))
        _check(tree, composed, config)
        files.write_whole(_kept(tree, objects, composed, changes), config.text)
    final = objects.objects / ".config"
    if final.is_symlink() or not final.is_file() or final.read_text(errors="replace") != config.text:
        files.write_whole(final, config.text)
    return config


def _kept(tree: SourceTree, objects: ObjectTree, composed: Composed, changes: str) -> Path:
    key = files.sha256_text(tree.identity, changes, composed.text, objects.toolchain.version)
    return files.cache_dir("configs") / f"{key[:20]}.config"


def _computed(tree: SourceTree, objects: ObjectTree, composed: Composed) -> str:
    """What the tree's own kbuild makes of the requests: all else is off, unless it cannot be."""
    files.write_whole(objects.objects / "lab.config", composed.text)
    done = objects.make(["KCONFIG_ALLCONFIG=/obj/lab.config", "allnoconfig"], stranger=True)
    said = done.text + done.errors
    if done.code != 0:
        done.check_room()
        if words := bad_compiler(said):
            raise UserError(
                f"Linux {tree.version} cannot be built with {objects.toolchain.version}: {words}",
                hint="use a build root of the suite that this kernel is of",
            )
        raise InfraError(f"Linux {tree.version} cannot be configured: {first_error(said, {'/src/': ''})}")
    return objects.run(["cat", "/obj/.config"]).text


def _check(tree: SourceTree, composed: Composed, config: Config) -> None:
    """Refuse a configuration that is not what was asked for: it would be tested under the wrong name."""
    wrong = lost(composed, config.values)
    if not wrong:
        return
    kconfigs = KconfigFiles(tree.path)
    lines = [
        f"{request} ({request.fragment}:{request.line}) {_why(request, kconfigs, config)}"
        for request in wrong
    ]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise UserError(
        f"{len(wrong)} of {len(composed.requests)} options of {composed.name} did not survive in Linux "
        f"{tree.version}:\n  " + "\n  ".join([*lines[:SHOWN], *more]),
        hint="add what they depend on, or drop them by a file of your own with `# CONFIG_... is not set` "
        f"lines: --kconfig {composed.name}+mine.config",
    )


def _why(request: Request, kconfigs: KconfigFiles, config: Config) -> str:
    value = config.values.get(request.symbol, "n")
    if value != "n":
        return f"is {value}: another option selects it, or a choice needs it"
    return "is off: " + explain(request.symbol.removeprefix("CONFIG_"), kconfigs, config.values)
