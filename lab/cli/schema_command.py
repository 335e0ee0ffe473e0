# SPDX-License-Identifier: GPL-2.0-or-later
"""lab schema"""

from __future__ import annotations

import click

from lab.cli.options import print_json


@click.command("schema")
@click.argument("kind", required=False)
def command(kind: str | None) -> int:
    """Print the JSON schema of a KIND of YAML file (case, machine, ...), or of all as one object.

    Editors use it: put `# yaml-language-server: $schema=FILE` at the top of the YAML.
    """
    from lab.errors import UserError, did_you_mean
    from lab.spec.schema import schemas

    known = schemas()
    if kind is not None and kind not in known:
        raise UserError(f"there is no schema {kind}", hint=did_you_mean(kind, known))
    print_json(known if kind is None else known[kind])
    return 0
