# SPDX-License-Identifier: GPL-2.0-or-later
"""Folders of finished builds: each holds a manifest that says what else is in it, by digest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lab import files, log
from lab.results.models import Record

MANIFEST = "manifest.json"


class Manifest(Record):
    """Of a finished build."""

    contents: dict[str, str]  # path below the folder -> sha256


M = TypeVar("M", bound=Manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    files.write_whole(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")


def intact(folder: Path, model: type[M]) -> M | None:
    """The manifest, if all it names is there unharmed; a damaged folder is removed."""
    if not folder.exists():
        return None
    try:
        manifest = model.model_validate_json((folder / MANIFEST).read_bytes())
        if all(files.sha256_file(folder / name) == digest for name, digest in manifest.contents.items()):
            return manifest
    except (OSError, ValidationError):
        pass
    log.info(f"{folder} is damaged: removed, will be built again")
    shutil.rmtree(folder, ignore_errors=True)
    return None
