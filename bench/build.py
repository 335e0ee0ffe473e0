# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab adds to building a kernel and judging one changed line, as a ratio to plain make.

    python bench/build.py [--source source:6.12] [--json FILE] [change] [clean]

A git work tree is made from the source package, and everything lies in a folder that is removed at the end,
with a cache of its own where that matters.

    clean     (10 minutes) a whole lean+drm build from nothing: `obtain`, against `make` with the same
              configuration in a folder of its own; compiler caches are empty. The copy of the tree that the
              lab makes once, so that it never touches the user's, is timed apart: make is given one too
    change    (the default, 7 minutes the first time) one line of ttm_bo_vm.c: `lab validate HEAD~1..HEAD`
              with the prefault cases to the verdict, against `make` for base and patched in turn plus
              the guests it booted, by hand and as many at once; and the same command again: it builds nothing
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lab.kernel.sources import parse_source
from lab.kernel.trees import checked_out

KCONFIG = "lean+drm"
CHANGED = "drivers/gpu/drm/ttm/ttm_bo_vm.c"
CASES = [f"prefault/{name}" for name in ("first-touch", "misaligned", "second-touch", "sparse-touch")]
"""Those of the topic that `lab validate` chooses by itself. It also chooses gup-race/direct-io, which needs a
module of the lab's own, built for base and patched: five seconds each, once."""

TARGETS = ("vmlinux", "modules")
COPY = (
    "import sys; from lab.kernel.sources import parse_source; from lab.kernel.trees import checked_out\n"
    "with checked_out(parse_source(sys.argv[1])): pass"
)
OBTAIN = (
    "import sys; from lab.kernel.obtain import obtain; "
    f"print(obtain(sys.argv[1], with_build=False, kconfig={KCONFIG!r}).config)"
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="source:6.12", help="a source package (default source:6.12)")
    parser.add_argument("--json", type=Path, help="write the times to this file")
    parser.add_argument("what", nargs="*", metavar="change|clean", help="default: change")
    options = parser.parse_args()
    if strange := set(options.what) - set(NAMES.values()):
        parser.error(f"there is no {strange.pop()} to measure")
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="faultlab-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        tree = folder / "linux"
        work_tree(options.source, tree)
        for measure in (one_line, clean_build):
            if NAMES[measure] in (options.what or ["change"]):
                for what, value in measure(tree, folder):
                    print(f"{what:40} {value:8.2f}", flush=True)
                    times[what] = value
    if options.json:
        options.json.write_text(json.dumps(times, indent=2) + "\n")
    return 0


def work_tree(source: str, tree: Path) -> None:
    """A git work tree with one commit: the source as the package has it, and a comment of this run's own."""
    wanted = parse_source(source)
    with checked_out(wanted) as checked:  # type: ignore[arg-type]
        shutil.copytree(checked.path, tree, symlinks=True)
    # Else what an earlier run of this program built would stand for it, and there would be no object files.
    with (tree / CHANGED).open("a") as changed:
        changed.write(f"/* {os.urandom(8).hex()} */\n")
    git(tree, "init", "-q")
    git(tree, "add", "-A", "-f")
    git(tree, "commit", "-q", "-m", "base")


def clean_build(tree: Path, folder: Path) -> Iterator[tuple[str, float]]:
    """A whole build by the lab and by make, both from nothing."""
    cache = folder / "cache"
    with timed() as copied:
        run([sys.executable, "-c", COPY, f"tree:{tree}"], env={"LAB_CACHE": str(cache)})
    yield "clean: the lab's copy of the tree, s", copied["wall"]
    with timed() as by_lab:
        said = run([sys.executable, "-c", OBTAIN, f"tree:{tree}"], env={"LAB_CACHE": str(cache)})
    yield "clean: lab, s", by_lab["wall"]
    with timed() as by_make:
        plain_configured(tree, folder / "clean", Path(said.strip()))
        make(tree, folder / "clean", *TARGETS)
    yield "clean: make, s", by_make["wall"]
    yield "clean: ratio", by_lab["wall"] / by_make["wall"]
    yield "clean: ratio, with the copy", (copied["wall"] + by_lab["wall"]) / by_make["wall"]


def one_line(tree: Path, folder: Path) -> Iterator[tuple[str, float]]:
    """One changed line to the verdict, once and again."""
    config = Path(run([sys.executable, "-c", OBTAIN, f"tree:{tree}"]).strip())
    plain = folder / "plain"
    plain_configured(tree, plain, config)
    make(tree, plain, *TARGETS)

    with timed() as make_base:
        make(tree, plain, *TARGETS)
    yield "change: make of base, s", make_base["wall"]
    change(tree)
    with timed() as make_patched:
        make(tree, plain, *TARGETS)
    yield "change: make of patched, s", make_patched["wall"]

    state = {"LAB_STATE": str(folder / "state")}
    with timed() as first:
        validate(tree, state)
    yield "change: lab validate, s", first["wall"]
    with timed() as again:
        validate(tree, state)
    yield "again: lab validate, s", again["wall"]
    with timed() as boots:
        by_hand(folder / "state/runs/latest/trials")
    yield "change: the guests by hand, s", boots["wall"]
    yield "change: ratio", first["wall"] / (make_base["wall"] + make_patched["wall"] + boots["wall"])


NAMES = {one_line: "change", clean_build: "clean"}


def change(tree: Path) -> None:
    """One line more in the fault handler, committed."""
    path = tree / CHANGED
    text = path.read_text()  # the line costs too little to be called worse: the verdict is PASS
    line = "vm_fault_t ttm_bo_vm_fault(struct vm_fault *vmf)\n{\n"
    assert line in text
    path.write_text(text.replace(line, f'{line}\tpr_debug("fault at %lx\\n", vmf->address);\n'))
    git(tree, "commit", "-q", "-a", "-m", "drm/ttm: tell of each fault")


def validate(tree: Path, env: dict[str, str]) -> None:
    command = ["validate", "HEAD~1..HEAD", "--base", f"tree:{tree}@HEAD~1", *CASES]
    run([sys.executable, "-m", "lab", *command], cwd=tree, env=env)


def by_hand(trials: Path) -> None:
    """Boot what the lab booted, with the line that it recorded, as many at once as there are processors."""

    def boot(script: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run(["sh", str(script)], cwd=Path(folder))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(boot, sorted(trials.resolve().glob("*/qemu.cmd"))))


def plain_configured(tree: Path, objects: Path, config: Path) -> None:
    objects.mkdir()
    shutil.copyfile(config, objects / ".config")
    make(tree, objects, "olddefconfig")


def make(tree: Path, objects: Path, *targets: str) -> None:
    run(["make", "-C", str(tree), f"O={objects}", f"-j{os.cpu_count() or 1}", "ARCH=x86_64", *targets])


def git(tree: Path, *words: str) -> None:
    who = ["-c", "user.name=bench", "-c", "user.email=bench@faultlab.example", "-c", "gc.auto=0"]
    run(["git", "-C", str(tree), *who, *words])


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Seconds on the wall."""
    times: dict[str, float] = {}
    begun = time.monotonic()
    yield times
    times["wall"] = time.monotonic() - begun


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> str:
    """Run to the end; its stdout."""
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{argv} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    print(f"done: {' '.join(argv)[:100]}", file=sys.stderr)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
