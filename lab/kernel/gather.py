# SPDX-License-Identifier: GPL-2.0-or-later
"""A series as one mbox, from whatever the user has: an mbox, patch files, a folder of them, a commit range,
standard input, or a message-id (by b4, where it is installed)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lab import files, proc
from lab.errors import UserError
from lab.kernel.git import ask, asked
from lab.kernel.series import MAX_BYTES, MAX_PATCHES

RANGE = re.compile(r"(?P<since>[^\s:]+?)\.\.(?P<until>[^\s.][^\s]*)?")
MESSAGE = re.compile(r"(?:<)?[^\s/<>@]+@[^\s/<>@]+(?:>)?|https?://\S+/[^\s/]+@[^\s/]+/?\S*")
B4_SECONDS = 300

PLAIN = (
    *("--stdout", "--no-signature", "--no-ext-diff", "--no-textconv", "--no-attach"),
    *("--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--unified=3"),
)
"""What `git am` on another machine takes, whatever the user has configured to read himself."""


def gather_series(text: str, folder: Path, cwd: Path) -> Path:
    """Put the series that `text` names into `folder` and return the path of its mbox.

    A file is used where it lies. UserError if `text` names nothing that can be read as a series.
    """
    if text == "-":
        return _keep(folder, "stdin", sys.stdin.buffer.read(MAX_BYTES + 1))
    path = Path(text)
    if path.is_dir():
        return _keep(folder, path.resolve().name, _joined(path))
    shipped = files.shipped("testcases") / text
    if path.exists() or not (shipped.exists() or RANGE.fullmatch(text) or MESSAGE.fullmatch(text)):
        return path
    if shipped.is_file():
        return shipped
    if RANGE.fullmatch(text):
        return _keep(folder, re.sub(r"[^A-Za-z0-9.]+", "-", text), _from_commits(text, cwd, folder))
    return _by_b4(text, folder)


def _keep(folder: Path, name: str, data: bytes) -> Path:
    path = folder / f"{name}.mbox"
    files.write_whole(path, data)
    return path


def _joined(folder: Path) -> bytes:
    """The patch files of a folder in name order, as `git format-patch` numbers them."""
    patches = sorted(
        p for p in folder.iterdir() if p.suffix in (".patch", ".eml", ".mbox", ".mbx") and p.is_file()
    )
    if not patches:
        raise UserError(
            f"{folder} has no *.patch, *.eml or *.mbox file", hint="git format-patch -o FOLDER BASE.."
        )
    if len(patches) > MAX_PATCHES or sum(p.stat().st_size for p in patches) > MAX_BYTES:
        raise UserError(f"{folder} holds more than {MAX_PATCHES} patches or {MAX_BYTES >> 20} MiB")
    return b"".join(_as_mail(p.read_bytes()) for p in patches)


def _as_mail(data: bytes) -> bytes:
    separated = data if data.startswith(b"From ") else b"From faultlab Thu Jan  1 00:00:00 1970\n" + data
    return separated if separated.endswith(b"\n\n") else separated.rstrip(b"\n") + b"\n\n"


def _from_commits(text: str, cwd: Path, folder: Path) -> bytes:
    """The commits of a range in the git tree that we stand in, with their base-commit. Reads only."""
    if merges := (ask(cwd, "rev-list", "--merges", "--end-of-options", text) or "").split():
        raise UserError(
            f"the range {text} holds a merge ({merges[-1][:12]}), whose own changes are in no patch",
            hint="rebase it; or lab run --kernel tree:PATH@BASE, then @TOP, and lab compare the two runs",
        )
    few = f"-{MAX_PATCHES + 1}"  # that it is one too many is told by who reads them
    base = [f"--base={commit}"] if (commit := _branched_from(text, cwd)) else ["--no-base"]
    with files.scratch(folder / "commits") as scratch:
        made = scratch / "mbox"
        done = asked(cwd, ["format-patch", few, *PLAIN, *base, "--end-of-options", text], stdout_to=made)
        with made.open("rb") as mbox:
            data = mbox.read(MAX_BYTES + 1)
    if done.code != 0:
        words = done.errors.strip().splitlines()[-1:] or ["git gave no reason"]
        raise UserError(
            f"git cannot make patches of {text} in {cwd}: {words[0]}", hint="stand in the tree; BASE..TOP"
        )
    if len(data) > MAX_BYTES:
        raise UserError(
            f"the patches of {text} have more than {MAX_BYTES >> 20} MiB", hint="name fewer commits"
        )
    if not data.strip():
        raise UserError(f"the range {text} holds no commit", hint="BASE..TOP, oldest first")
    return data


def _branched_from(text: str, cwd: Path) -> str:
    """The commit that the first one of a range goes on top of; "" if its ends have nothing in common."""
    ends = RANGE.fullmatch(text)
    assert ends is not None
    return (ask(cwd, "merge-base", "--end-of-options", ends["since"], ends["until"] or "HEAD") or "").strip()


def _by_b4(text: str, folder: Path) -> Path:
    b4 = proc.find("b4")
    if b4 is None:
        raise UserError(
            f"{text} is a message-id, and b4 is not installed to fetch it",
            hint="pip install b4; or save the thread as an mbox and name that file",
        )
    done = proc.run([b4, "-n", "am", "-o", str(folder), text], timeout=B4_SECONDS, check=False)
    made = sorted(folder.glob("*.mbx"))
    if done.code != 0 or not made:
        words = (done.errors + done.text).strip().splitlines()[-4:]
        raise UserError(
            f"b4 could not fetch {text}:\n  " + "\n  ".join(words), hint="is the network reachable?"
        )
    return made[-1]
