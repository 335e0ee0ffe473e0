# SPDX-License-Identifier: GPL-2.0-or-later
"""A patch series from an mbox or a patch file: read strictly, complete, in order.

What people send is hostile until read: size and number are bounded, nothing in it is executed, and whatever
is wrong with it is a UserError in a sentence.
"""

from __future__ import annotations

import email
import email.errors
import email.header
import email.message
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import files, proc
from lab.errors import InfraError, UserError
from lab.kernel import git
from lab.kernel.patch import BadDiff, check_with_git, find_diff, touched_paths

MAX_BYTES = 32 << 20
MAX_PATCHES = 500
SEPARATOR = re.compile(rb"(?m)^From \S+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [^\n]*\n")
TAG = re.compile(r"^\s*\[([^\]]*)\]\s*")
RAW_HINT = "download the series raw: `b4 am MESSAGE-ID`, or the t.mbox.gz of its lore page, unpacked"


@dataclass(frozen=True)
class Patch:
    """One change of a series."""

    number: int  # from 1
    subject: str  # without [PATCH ...]
    author: str
    message_id: str
    diff: bytes
    touched: tuple[str, ...]  # paths below the kernel tree
    patch_id: str  # git's stable patch id: equal for the same change at another place

    def __str__(self) -> str:
        return f'patch {self.number} "{self.subject}"'


@dataclass(frozen=True)
class Series:
    """Patches that belong together, complete and in order."""

    name: str  # of the file, without its ending
    title: str
    version: int
    patches: tuple[Patch, ...]
    base_commit: str  # "" if it names none
    path: Path
    digest: str  # SHA-256 over the diffs
    raw: bytes = field(default=b"", repr=False)  # the file: a pipe cannot be read again

    @property
    def touched(self) -> tuple[str, ...]:
        """Every path that one of the patches touches, sorted."""
        return tuple(sorted({path for patch in self.patches for path in patch.touched}))

    @property
    def last(self) -> Patch:
        return self.patches[-1]

    def first(self, count: int) -> Series:
        """The series cut after its first `count` patches; whole, it is itself."""
        if count == len(self.patches):
            return self
        return replace(self, name=f"{self.name}[1-{count}]", patches=self.patches[:count])


def joined(parts: Sequence[Series]) -> Series:
    """Several series as one, each on top of the one before; named after the last."""
    patches = [patch for part in parts for patch in part.patches]
    numbered = tuple(replace(patch, number=number) for number, patch in enumerate(patches, 1))
    return replace(
        parts[-1],
        patches=numbered,
        base_commit=parts[0].base_commit,
        digest=files.sha256_text(*[patch.diff for patch in numbered]),
    )


@dataclass(frozen=True)
class _Mail:
    """A message as far as a series cares: a cover letter has no diff and the number 0."""

    subject: str
    author: str
    message_id: str
    version: int
    number: int | None
    total: int | None
    diff: bytes
    base_commit: str


def read_series(path: Path) -> Series:
    """Read a series from an mbox or from a single patch file.

    Raises UserError with what is wrong with the file.
    """
    raw = _read(path)
    mails = _mails(raw, path)
    cover = next((mail for mail in mails if mail.number == 0), None)
    changes = _in_order([mail for mail in mails if mail.diff], path)
    touched = [_touched(mail, number, path) for number, mail in enumerate(changes, 1)]
    ids = _patch_ids([mail.diff for mail in changes])
    patches = tuple(
        Patch(number, mail.subject, mail.author, mail.message_id, mail.diff, paths, patch_id)
        for number, (mail, paths, patch_id) in enumerate(zip(changes, touched, ids, strict=True), 1)
    )
    return Series(
        name=path.stem,
        title=(cover or changes[0]).subject or path.stem,
        version=changes[0].version,
        patches=patches,
        base_commit=next((mail.base_commit for mail in mails if mail.base_commit), ""),
        path=path,
        digest=files.sha256_text(*[mail.diff for mail in changes]),
        raw=raw,
    )


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"{path} is a folder", hint="name one mbox or patch file")
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint="name an mbox or patch file") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="is it a series of patches?")
    if not data.strip():
        raise UserError(f"{path} is empty", hint=RAW_HINT)
    if data.startswith((b"\x1f\x8b", b"\xfd7zXZ", b"BZh", b"PK")):
        raise UserError(f"{path} is compressed", hint="unpack it first, for example with gunzip")
    if b"\0" in data[: 64 << 10]:
        raise UserError(f"{path} is a binary file, not an mbox", hint=RAW_HINT)
    if re.match(rb"\s*<(?:!doctype|html|\?xml)", data, re.IGNORECASE):
        raise UserError(f"{path} is a web page, not an mbox", hint=RAW_HINT)
    return data.replace(b"\r\n", b"\n")


def _mails(data: bytes, path: Path) -> list[_Mail]:
    """The cover letter and the patches among the messages of a file; replies are left out."""
    starts = [match.end() for match in SEPARATOR.finditer(data)]
    ends = [*[match.start() for match in SEPARATOR.finditer(data)][1:], len(data)]
    pieces = [data[start:end] for start, end in zip(starts, ends, strict=True)] if starts else [data]
    if len(pieces) > 2 * MAX_PATCHES:
        raise UserError(
            f"{path} holds {len(pieces)} messages", hint=f"at most {MAX_PATCHES} patches are read"
        )
    mails = [mail for mail in map(_parse, pieces) if mail is not None]
    changes = sum(1 for mail in mails if mail.diff)
    if changes > MAX_PATCHES:
        raise UserError(f"{path} holds {changes} patches", hint=f"at most {MAX_PATCHES} are read")
    if changes == 0:
        like_mail = bool(starts) or re.match(rb"[A-Za-z-]+: ", data) is not None
        problem = "there is no patch in it" if like_mail else "it is neither an mbox nor a patch"
        raise UserError(f"{path}: {problem}", hint=RAW_HINT)
    return mails


def _parse(raw: bytes) -> _Mail | None:
    """One message; None for a reply and for a message that is neither patch nor cover letter."""
    if find_diff(raw[:512]).startswith(raw[:4]):  # a bare diff, not a mail
        return _Mail("", "", "", 1, None, None, raw, "")
    try:
        message = email.message_from_bytes(raw)
        text = _text(message)
    except (ValueError, LookupError, TypeError, AttributeError, email.errors.MessageError, RecursionError):
        return None  # too broken to hold a patch; the completeness check tells if one is missing
    subject = _header(message, "Subject")
    if re.match(r"(?i)\s*re:", subject):
        return None
    subject, version, number, total = _tags(subject)
    diff = b"" if number == 0 else find_diff(text)
    if not diff and number != 0:
        return None
    base = re.search(rb"(?m)^base-commit: ([0-9a-f]{12,40})\s*$", text)
    return _Mail(
        subject=subject,
        author=_header(message, "From"),
        message_id=_header(message, "Message-Id").strip("<> "),
        version=version,
        number=number,
        total=total,
        diff=diff,
        base_commit=base[1].decode() if base else "",
    )


def _text(message: email.message.Message) -> bytes:
    """The decoded text of a message: of all text parts, in order."""
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    payloads = [part.get_payload(decode=True) for part in parts]
    return b"\n".join(p for p in payloads if isinstance(p, bytes)).replace(b"\r\n", b"\n")


def _header(message: email.message.Message, name: str) -> str:
    """A header as one bounded line of readable text."""
    raw = str(message.get(name, ""))
    try:
        text = str(email.header.make_header(email.header.decode_header(raw)))
    except (ValueError, LookupError, email.errors.MessageError):
        text = raw
    text = " ".join(text.split())[:500]
    return "".join(c if c.isprintable() else "?" for c in text)


def _tags(subject: str) -> tuple[str, int, int | None, int | None]:
    """Subject without its leading [...] tags; version (1 if none), number and total."""
    version, number, total = 1, None, None
    while match := TAG.match(subject):
        subject = subject[match.end() :]
        if found := re.search(r"\b[vV]([0-9]{1,3})\b", match[1]):
            version = int(found[1])
        if found := re.search(r"\b([0-9]{1,4})/([0-9]{1,4})\b", match[1]):
            number, total = int(found[1]), int(found[2])
    return subject, version, number, total


def _in_order(changes: list[_Mail], path: Path) -> list[_Mail]:
    """Patches by number; UserError if one is missing, or if they are not one series."""
    versions = sorted({mail.version for mail in changes})
    totals = sorted({mail.total for mail in changes if mail.total is not None})
    if len(versions) > 1 or len(totals) > 1:
        what = (
            "versions " + " and ".join(f"v{v}" for v in versions)
            if len(versions) > 1
            else "series of " + " and of ".join(f"{t} patches" for t in totals)
        )
        raise UserError(
            f"{path} holds more than one series: {what}", hint="keep one; `b4 am` picks the newest"
        )
    if not totals:
        return changes  # not numbered: the file's order is the order
    numbered: dict[int, _Mail] = {}
    for mail in changes:
        number = mail.number or 0
        if mail.number is None or number > totals[0]:
            raise UserError(f'{path}: "{mail.subject}" is not one of {totals[0]} patches by its number')
        if number in numbered and numbered[number].diff != mail.diff:
            raise UserError(f"{path}: two different patches are numbered {number}/{totals[0]}")
        numbered.setdefault(number, mail)
    missing = [n for n in range(1, totals[0] + 1) if n not in numbered]
    if missing:
        lacking = ", ".join(f"{n}/{totals[0]}" for n in missing[:10])
        which = f"patch {lacking} is" if len(missing) == 1 else f"patches {lacking} are"
        raise UserError(
            f"{path} is incomplete: {which} missing; "
            f"it has {', '.join(f'{n}/{totals[0]}' for n in sorted(numbered)[:10])}",
            hint=RAW_HINT,
        )
    return [numbered[n] for n in sorted(numbered)]


def _touched(mail: _Mail, number: int, path: Path) -> tuple[str, ...]:
    try:
        paths = touched_paths(mail.diff)
        check_with_git(mail.diff, paths)
        return paths
    except BadDiff as error:
        title = f' "{mail.subject}"' if mail.subject else ""
        raise UserError(f"{path}: patch {number}{title} is not usable: {error}", hint=RAW_HINT) from error


def _patch_ids(diffs: list[bytes]) -> list[str]:
    """git's stable patch ids, with one call; "" for a diff without a change of text (a mere rename)."""
    stream = b"".join(b"From %040x\n" % number + diff + b"\n" for number, diff in enumerate(diffs, 1))
    argv = [git.program(), "patch-id", "--stable"]
    done = proc.run(argv, timeout=60, data=stream, check=False, env=git.ALONE)
    if done.code != 0:
        raise InfraError(f"git patch-id failed: {done.errors.strip()}")
    ids = {int(commit, 16): patch_id for patch_id, commit in map(str.split, done.text.splitlines())}
    return [ids.get(number, "") for number in range(1, len(diffs) + 1)]
