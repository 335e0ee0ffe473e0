# SPDX-License-Identifier: GPL-2.0-or-later
"""What a build over older objects will have to do, as far as it can be told before make looks, and where that
is remembered which the last one of its kind took.

Of a kind are builds of one configuration and version for which the planner says the same: these modules, or
the whole kernel because of these files.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from lab.kernel import planner
from lab.kernel.objects import LastBuilt, ObjectTree
from lab.kernel.progress import Memory
from lab.kernel.work_copy import SourceTree


def plan_of(tree: SourceTree, paths: Set[str], config: Mapping[str, str]) -> planner.Plan:
    """What a change of these files makes necessary to build."""

    def makefile(directory: str) -> str | None:
        found = (tree.path / directory / name for name in ("Kbuild", "Makefile"))
        return next((path.read_text(errors="replace") for path in found if path.is_file()), None)

    return planner.plan(sorted(paths), makefile, config)


def memory_of(
    tree: SourceTree, objects: ObjectTree, now: LastBuilt, config: Mapping[str, str]
) -> Memory | None:
    """Where builds like this one are remembered; `now` is what is to be built.

    None where nothing can be learned: the configuration is another one, the last build did not come to its
    end, or nothing knows how the source differs from what the objects are of.
    """
    kind = f"{objects.kconfig} {tree.version.rpartition('.')[0]}"
    if not objects.complete:
        return Memory(kind)
    last = objects.last_built
    if last is None or last.config != now.config:
        return None
    differing = () if last.identity == now.identity else tree.differing(last.identity)
    if differing is None:
        return None
    return Memory(f"{kind}: {plan_of(tree, {*differing, *last.patched, *now.patched}, config)}")
