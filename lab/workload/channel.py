# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's end of the guest's report (docs/channel.md): strict, bounded, the same however it is cut.

Nothing the guest sends can do more than end its own trial.
"""

from __future__ import annotations

import re

from lab.errors import InfraError

MAX_FRAME = 1 << 20
MAX_TOTAL = 64 << 20
MAX_HEADER = 128
MAX_NOTES = 64
MAX_FILES = 256
PROTOCOL = "1"

FAIL_WORDS = frozenset({"mount", "module", "exec", "order", "network"})

_HEADER = re.compile(rb"#LAB ([a-z]{1,8}) (0|[1-9][0-9]{0,7}) ([A-Za-z0-9._-]{1,64})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class ChannelError(InfraError):
    """The guest's report breaks the protocol."""


class ChannelReader:
    """Collects what the guest reports, from bytes fed in pieces of any size."""

    def __init__(self) -> None:
        self.release: str | None = None
        """What `uname -r` says in the guest; None before its hello."""
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.files: dict[str, bytearray] = {}
        self.notes: list[str] = []
        self.failure: tuple[str, str] | None = None
        """Word and text of the guest's `fail`."""
        self.exit_status: int | None = None
        self.done = False
        """The guest has said bye."""
        self._buffer = bytearray()
        self._header: tuple[str, int, str] | None = None
        self._offset = 0  # in the stream, of the first byte of `_buffer`
        self._broken: ChannelError | None = None
        self._last_file = ""

    @property
    def partial(self) -> bool:
        """A frame has begun and not ended, as when the guest dies while it reports."""
        return bool(self._buffer) or self._header is not None

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises ChannelError on the first break and on every call after it."""
        if self._broken is not None:
            raise self._broken
        room = MAX_TOTAL - self._offset - len(self._buffer)
        self._buffer += data[:room]
        position = 0
        try:
            while (after := self._step(position)) is not None:
                position = after
            if len(data) > room:
                raise self._error(position, f"more than {MAX_TOTAL >> 20} MiB in all")
        except ChannelError as error:
            self._broken = error
            raise
        finally:
            del self._buffer[:position]
            self._offset += position

    def _error(self, position: int, text: str) -> ChannelError:
        return ChannelError(
            f"the guest's report is damaged at byte {self._offset + position}: {text}",
            hint="the workload may have written to the second serial port; the kernel is not judged",
        )

    def _step(self, position: int) -> int | None:
        """Take one header or one body at `position`; returns where the next begins, None to wait for more."""
        if self._header is None:
            return self._take_header(position)
        kind, length, word = self._header
        if len(self._buffer) < position + length + 1:
            return None
        if self._buffer[position + length] != ord("\n"):
            raise self._error(position + length, f"a {kind} frame does not end where it said")
        self._accept(position, kind, word, bytes(self._buffer[position : position + length]))
        self._header = None
        return position + length + 1

    def _take_header(self, position: int) -> int | None:
        if self.done and len(self._buffer) > position:
            raise self._error(position, "bytes after bye")
        end = self._buffer.find(b"\n", position, position + MAX_HEADER)
        if end < 0:
            if len(self._buffer) < position + MAX_HEADER:
                return None
            raise self._error(position, "no frame begins here")
        match = _HEADER.fullmatch(self._buffer, position, end)
        if match is None:
            raise self._error(position, "no frame begins here")
        kind, length, word = match[1].decode(), int(match[2]), match[3].decode()
        if length > MAX_FRAME:
            raise self._error(position, f"a frame of {length} bytes")
        self._check(position, kind, length, word)
        self._header = (kind, length, word)
        return end + 1

    def _check(self, position: int, kind: str, length: int, word: str) -> None:
        """Whether a frame of this kind may come now and look like this."""
        problem = ""
        match kind:
            case "hello":
                problem = "a second hello" if self.release is not None else ""
                if word != PROTOCOL:
                    problem = f"protocol version {word}, this lab speaks {PROTOCOL}"
            case "stdout" | "stderr" | "note":
                problem = "" if word == "-" else f"a {kind} frame with the word {word}"
            case "file":
                problem = self._file_problem(word)
            case "fail":
                if self.failure is not None or word not in FAIL_WORDS:
                    problem = f"an unexpected fail {word}"
            case "exit":
                if self.exit_status is not None or length or not word.isdigit() or int(word) > 255:
                    problem = f"an unexpected exit {word}"
            case "bye":
                problem = "a bye with content" if length or word != "-" else ""
            case _:
                problem = f"an unknown frame {kind}"
        if not problem and self.release is None and kind not in ("hello", "fail", "bye"):
            problem = f"a {kind} frame before hello"
        if problem:
            raise self._error(position, problem)

    def _file_problem(self, name: str) -> str:
        if name.startswith("."):
            return f"a file with the name {name}"
        if name in self.files and name != self._last_file:
            return f"pieces of the file {name} that do not follow each other"
        if name not in self.files and len(self.files) >= MAX_FILES:
            return f"more than {MAX_FILES} files"
        return ""

    def _accept(self, position: int, kind: str, word: str, body: bytes) -> None:
        match kind:
            case "hello":
                self.release = _one_line(body)
            case "stdout":
                self.stdout += body
            case "stderr":
                self.stderr += body
            case "file":
                self.files.setdefault(word, bytearray()).extend(body)
                self._last_file = word
            case "note":
                if len(self.notes) >= MAX_NOTES:
                    raise self._error(position, f"more than {MAX_NOTES} notes")
                self.notes.append(_one_line(body))
            case "fail":
                self.failure = (word, _one_line(body))
            case "exit":
                self.exit_status = int(word)
            case "bye":
                self.done = True


def _one_line(body: bytes) -> str:
    """Guest text as one printable line of at most 500 characters."""
    return _CONTROL.sub(" ", body[:2000].decode(errors="replace")).strip()[:500]
