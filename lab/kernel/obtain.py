# SPDX-License-Identifier: GPL-2.0-or-later
"""From what the user wrote to kernels that can be booted, wherever they come from."""

from __future__ import annotations

from lab.errors import UserError
from lab.kernel.ground import on_headers, on_objects
from lab.kernel.image_file import image_kernel
from lab.kernel.kernel import Kernel
from lab.kernel.packaged import packaged_kernel
from lab.kernel.series import Series
from lab.kernel.sources import Buildable, Image, Packaged, parse_source
from lab.kernel.trees import checked_out, unpacked

KCONFIG = "lean+drm"
"""What a tree is built with unless the user says otherwise."""


def obtain(text: str, *, with_build: bool, kconfig: str = KCONFIG) -> Kernel:
    """The kernel that `text` names (see sources.parse_source), ready to boot; a tree is built with `kconfig`.

    `with_build` gets what modules of a packaged kernel are built with, too. Raises UserError for what is not
    there or cannot be used, InfraError if index, mirror or disk fail, SeriesError never.
    """
    source = parse_source(text)
    match source:
        case Packaged():
            return on_headers(packaged_kernel(source, with_build=with_build))
        case Image():
            return image_kernel(source)
        case _:
            return on_objects(_built(source, kconfig, None), source, kconfig)


def obtain_steps(text: str, series: Series, *, kconfig: str = KCONFIG) -> tuple[Kernel, ...]:
    """The kernel that `text` names, then that kernel after each patch of a series.

    As `obtain`; raises SeriesError naming the first patch that does not apply or build. Equal `build_id`s
    mean that the series changes nothing that is built.
    """
    source = parse_source(text)
    match source:
        case Packaged():
            from lab.kernel import module_build

            steps = module_build.build_steps(packaged_kernel(source, with_build=True), series)
            return tuple(on_headers(kernel) for kernel in steps)
        case Image():
            raise UserError(
                f"{source.path} is built already: {series.name} cannot be applied to it",
                hint="name the tree that it was built from: --base tree:PATH",
            )
        case _:
            from lab.kernel import full_build

            with checked_out(source) as tree:
                base, *after = full_build.build_steps(tree, kconfig, series, name=str(source))
            grounded = [on_objects(base, source, kconfig)]
            for number, kernel in enumerate(after, 1):
                # A series may touch nothing that is built: then the objects are those of the base.
                applied = None if kernel.root == base.root else series.first(number)
                grounded.append(on_objects(kernel, source, kconfig, applied))
            return tuple(grounded)


def obtain_step(text: str, series: Series, number: int, *, kconfig: str = KCONFIG) -> Kernel:
    """What `obtain_steps` has at this place (0: the base), without building the others. Raises as it does."""
    source = parse_source(text)
    match source:
        case Packaged():
            from lab.kernel import module_build

            return on_headers(
                module_build.build_step(packaged_kernel(source, with_build=True), series, number)
            )
        case Image():
            return obtain_steps(text, series, kconfig=kconfig)[number]  # says why not
        case _:
            applied = series.first(number) if number else None
            return on_objects(_built(source, kconfig, applied), source, kconfig, applied)


def _built(source: Buildable, kconfig: str, series: Series | None) -> Kernel:
    """The kernel of a source; what was built before does not wait for others that build from the source."""
    from lab.kernel import full_build

    known = unpacked(source)
    if known is not None:
        kernel = full_build.find_kernel(known, kconfig, name=str(source), series=series)
        if kernel is not None:
            return kernel
    with checked_out(source) as tree:
        return full_build.build_kernel(tree, kconfig, name=str(source), series=series)
