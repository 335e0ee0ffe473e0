# SPDX-License-Identifier: GPL-2.0-or-later
"""The skeleton of a regression: four files that run as they are, with what is left to write marked TODO."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.errors import UserError
from lab.kernel.sources import parse_source
from lab.spec.catalog import Catalog
from lab.spec.loader import shown
from lab.spec.regression_file import NEW, load_regression, regressions

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")
PLACEHOLDER = re.compile(r"@(NAME|GOOD|BAD|MACHINE|LINKS|KIND|PROGRAM|DRIVER)@")


@dataclass(frozen=True)
class Wanted:
    """What the skeleton is to say."""

    name: str
    good: str
    bad: str
    machine: str
    link: str = ""


@dataclass(frozen=True)
class Made:
    """A skeleton that was written."""

    folder: Path
    path: Path  # of the regression
    files: tuple[Path, ...]


def write_skeleton(wanted: Wanted, parent: Path) -> Made:
    """Write the folder NAME below `parent`, whole or not at all.

    Raises UserError if it is there already, or for what cannot be in a regression.
    """
    catalog = Catalog.load()
    _check(wanted, catalog)
    folder = parent / wanted.name
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{shown(folder)} is there already", hint="another name, or remove it yourself")
    texts = _texts(wanted, catalog)
    with files.scratch(folder) as fresh:
        for name, text in texts.items():
            files.write_whole(fresh / name, text)
        load_regression(fresh / f"{wanted.name}.yaml", catalog)  # what is wrong is not written
        try:
            fresh.rename(folder)
        except OSError as error:
            raise UserError(f"cannot write {shown(folder)}: {error.strerror}") from error
    return Made(folder, folder / f"{wanted.name}.yaml", tuple(folder / name for name in texts))


def _check(wanted: Wanted, catalog: Catalog) -> None:
    if not NAME.fullmatch(wanted.name) or wanted.name == NEW:
        raise UserError(
            f"{wanted.name} is no name for a regression", hint="small letters, digits and -: qxl-resize-oops"
        )
    if wanted.name in regressions(catalog):
        raise UserError(f"the catalogue has a regression {wanted.name}", hint=f"lab repro {wanted.name}")
    catalog.machine(wanted.machine)
    for kernel in (wanted.good, wanted.bad):
        parse_source(kernel)
    if wanted.good == wanted.bad:
        raise UserError(f"{wanted.good} cannot be good and bad", hint="--good K --bad ANOTHER")
    if wanted.link and not re.fullmatch(r"https?://[!-~]{1,290}", wanted.link):
        raise UserError(f"{wanted.link} is no link", hint="https://lore.kernel.org/all/MESSAGE-ID/")


def _texts(wanted: Wanted, catalog: Catalog) -> Mapping[str, str]:
    """Content by name of the file."""
    graphics = catalog.machine(wanted.machine).graphics
    values = {
        "NAME": wanted.name,
        "GOOD": json.dumps(wanted.good),  # YAML's double-quoted text is JSON's
        "BAD": json.dumps(wanted.bad),
        "MACHINE": wanted.machine,
        "LINKS": f"[{json.dumps(wanted.link)}]" if wanted.link else "[]",
        "KIND": "reported" if wanted.link else "observed",
        "PROGRAM": wanted.name.replace("-", "_"),
        "DRIVER": graphics[0].driver if graphics else "none",
    }
    folder = files.shipped("testcases") / "regressions" / "skeleton"
    found = {}
    for name, template in (
        (f"{wanted.name}.yaml", "regression.yaml.in"),
        (f"{wanted.name}-case.yaml", "case.yaml.in"),
        (f"{values['PROGRAM']}.c", "workload.c.in"),
        ("README.md", "README.md.in"),
    ):
        text = (folder / template).read_text()
        found[name] = PLACEHOLDER.sub(lambda match: values[match[1]], text)
    return found
