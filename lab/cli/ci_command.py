# SPDX-License-Identifier: GPL-2.0-or-later
"""lab ci"""

from __future__ import annotations

from pathlib import Path

import click


@click.group("ci")
def command() -> None:
    """Write pipelines for CI services (docs/cluster.md)."""


@command.command("gitlab")
@click.argument("matrix", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write (default: stdout).")
@click.option("--without", metavar="TAG", multiple=True, help="No runner has it: use the nested lab host.")
def gitlab(matrix: Path | None, output: Path | None, without: tuple[str, ...]) -> int:
    """Write a GitLab child pipeline that runs the cells of MATRIX (default: ci/nightly.yaml).

    To be called in the root of the project. A runner's tags say what it has: faultlab, and of kvm, iommu,
    udmabuf, vfio:VENDOR:DEVICE what `lab worker --probe` prints there.
    """
    from lab import files, log
    from lab.spec.matrix_file import shipped_matrix
    from lab.workflow.pipeline import gitlab_pipeline

    text, jobs = gitlab_pipeline(matrix or shipped_matrix(), Path.cwd(), without)
    if output is None:
        click.echo(text, nl=False)
    else:
        files.write_whole(output, text)
        log.info(f"{output}: {jobs} jobs")
    return 0
