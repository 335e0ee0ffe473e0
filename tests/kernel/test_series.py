# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading series: good mail is understood, anything else is a UserError with a sentence."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import UserError
from lab.kernel.patch import BadDiff, touched_paths
from lab.kernel.series import read_series

SIGNATURE = "-- \n2.39.5\n\n"
DIFF = """\
diff --git a/drivers/x/{file}.c b/drivers/x/{file}.c
index 1111111..2222222 100644
--- a/drivers/x/{file}.c
+++ b/drivers/x/{file}.c
@@ -1,3 +1,3 @@
 int a;
-int b;
+int {file};
 int c;
"""


def mail(subject: str, body: str, *, sender: str = "A Dev <a@example.org>", extra: str = "") -> str:
    return (
        "From 72f22f72b931b76be0d36ea4706334e79e7dc0d2 Mon Sep 17 00:00:00 2001\n"
        f"From: {sender}\nSubject: {subject}\nMessage-Id: <{abs(hash(subject))}@example.org>\n{extra}\n{body}"
    )


def change(subject: str, file: str = "one") -> str:
    return mail(subject, "Why.\n---\n 1 file changed\n\n" + DIFF.format(file=file) + SIGNATURE)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "some-series.mbox"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_single_patch(tmp_path: Path) -> None:
    """A lone [PATCH] is a series of one, with its paths, patch id and name."""
    series = read_series(written(tmp_path, change("[PATCH] x: change b")))
    (patch,) = series.patches
    assert (series.name, series.title, series.version) == ("some-series", "x: change b", 1)
    assert patch.touched == series.touched == ("drivers/x/one.c",)
    assert len(patch.patch_id) == 40
    assert patch.author == "A Dev <a@example.org>"


def test_cover_letter_order_and_base_commit(tmp_path: Path) -> None:
    """Patches are ordered by number, whatever their order in the file; the cover letter gives the title."""
    cover = mail(
        "[PATCH v3 0/2] x: both", "Hello.\n\nbase-commit: 0123456789abcdef0123456789abcdef01234567\n"
    )
    text = change("[PATCH v3 2/2] second", "two") + cover + change("[PATCH v3 1/2] first")
    series = read_series(written(tmp_path, text))
    assert [patch.subject for patch in series.patches] == ["first", "second"]
    assert (series.title, series.version) == ("x: both", 3)
    assert series.base_commit == "0123456789abcdef0123456789abcdef01234567"
    assert series.touched == ("drivers/x/one.c", "drivers/x/two.c")


def test_replies_and_equal_copies_are_left_out(tmp_path: Path) -> None:
    """A lore thread holds answers with quoted diffs and the same mail more than once."""
    reply = mail("Re: [PATCH 1/1] first", "> " + DIFF.format(file="one").replace("\n", "\n> "))
    text = change("[PATCH 1/1] first") + reply + change("[PATCH 1/1] first")
    assert len(read_series(written(tmp_path, text)).patches) == 1


def test_encoded_mail(tmp_path: Path) -> None:
    """Quoted-printable bodies, encoded headers and CRLF are decoded."""
    body = DIFF.format(file="one").replace("=", "=3D").replace("int c;", "int =63;")
    text = mail(
        "=?utf-8?q?=5BPATCH=5D_x=3A_caf=C3=A9?=", body, extra="Content-Transfer-Encoding: quoted-printable\n"
    )
    series = read_series(written(tmp_path, text.replace("\n", "\r\n")))
    assert series.title == "x: café"
    assert b"\n int c;\n" in series.patches[0].diff


def test_bare_diff(tmp_path: Path) -> None:
    """The output of `git diff` is a series of one, named after its file."""
    series = read_series(written(tmp_path, DIFF.format(file="one")))
    assert (series.title, len(series.patches)) == ("some-series", 1)


def test_digest_sees_white_space(tmp_path: Path) -> None:
    """git's patch id is blind to white space, the digest is not: builds are cached by it."""
    one = read_series(written(tmp_path, change("[PATCH] x")))
    two = read_series(written(tmp_path, change("[PATCH] x").replace("+int one;", "+int  one;")))
    assert one.patches[0].patch_id == two.patches[0].patch_id
    assert one.digest != two.digest


BAD = {
    "empty": ("", "is empty"),
    "blank": ("\n\n  \n", "is empty"),
    "page": ("<!DOCTYPE html>\n<html>", "web page"),
    "binary": (b"\x7fELF\0\0\0", "binary"),
    "gzip": (b"\x1f\x8b\x08whatever", "compressed"),
    "text": ("hello\nworld\n", "neither an mbox nor a patch"),
    "no patch": (mail("hello", "no diff\n"), "no patch in it"),
    "only a reply": (change("Re: [PATCH] x"), "no patch in it"),
    "missing": (change("[PATCH 1/3] a") + change("[PATCH 3/3] c"), "patch 2/3 is missing; it has 1/3, 3/3"),
    "two versions": (change("[PATCH 1/1] a") + change("[PATCH v2 1/1] a"), "versions v1 and v2"),
    "two series": (change("[PATCH 1/1] a") + change("[PATCH 1/2] b"), "series of 1 patches and of 2"),
    "same number": (change("[PATCH 1/1] a") + change("[PATCH 1/1] a", "two"), "two different patches"),
    "beyond the total": (change("[PATCH 1/1] a") + change("[PATCH 2/1] b"), "by its number"),
    "escape": (change("[PATCH] a").replace("drivers/x", "../../etc"), "inside the kernel tree"),
    "absolute": (change("[PATCH] a").replace("a/drivers", "/drivers"), "inside the kernel tree"),
    ".git": (change("[PATCH] a").replace("drivers/x/one.c", ".git/hooks/pre-push"), "inside the kernel tree"),
    "symlink": (change("[PATCH] a").replace("index 1", "new file mode 120000\nindex 1"), "symbolic link"),
    "cut": (change("[PATCH] a").partition("-int b")[0], "cut off"),
    "wrapped": (change("[PATCH] a").replace("-int b;", "wrapped by a mailer"), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(tmp_path: Path, name: str) -> None:
    """Each kind of bad file is told apart in words."""
    data, words = BAD[name]
    with pytest.raises(UserError) as caught:
        read_series(written(tmp_path, data))
    assert words in caught.value.message
    assert "some-series.mbox" in caught.value.message


def test_missing_file_folder_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file, a folder and a file above the limit are UserErrors too."""
    monkeypatch.setattr("lab.kernel.series.MAX_BYTES", 100)
    for path, words in (
        (tmp_path / "no.mbox", "No such file"),
        (tmp_path, "is a folder"),
        (written(tmp_path, change("[PATCH] x")), "larger than"),
    ):
        with pytest.raises(UserError, match=words):
            read_series(path)


def test_too_many_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of patches is bounded."""
    monkeypatch.setattr("lab.kernel.series.MAX_PATCHES", 2)
    with pytest.raises(UserError, match="3 patches"):
        read_series(written(tmp_path, "".join(change(f"[PATCH {n}/3] x", f"f{n}") for n in (1, 2, 3))))


def test_removed_line_that_looks_like_a_header() -> None:
    """`--- x` inside a hunk is a removed line `-- x`, not the name of a file."""
    diff = b"--- a/lib/x.c\n+++ b/lib/x.c\n@@ -1,2 +1 @@\n a\n--- a/../../etc/passwd\n"
    assert touched_paths(diff) == ("lib/x.c",)


def test_rename_touches_both_names() -> None:
    """A renamed file is touched at both places."""
    diff = b"diff --git a/lib/a.c b/lib/b.c\nsimilarity index 100%\nrename from lib/a.c\nrename to lib/b.c\n"
    assert touched_paths(diff) == ("lib/a.c", "lib/b.c")


HUNK = "@@ -1 +1 @@\n-int b;\n+int c;\n"
SEEN = f"diff --git a/drivers/x.c b/drivers/x.c\n--- a/drivers/x.c\n+++ b/drivers/x.c\n{HUNK}"
DATE = "2024-01-01 00:00:00.000000000 +0000"
HIDDEN = {
    "a date after blanks": f"{SEEN}--- a/kernel/evil.c {DATE}\n+++ b/kernel/evil.c {DATE}\n{HUNK}",
    "a quoted name": (
        'diff --git "a/kernel/e\\166il.c" b/kernel/x.c\nsimilarity index 100%\n'
        'rename from "kernel/e\\166il.c"\nrename to kernel/x.c\n'
    ),
    "an old spelling": (
        f"{SEEN}diff --git a/kernel/evil.c b/drivers/x.c\nsimilarity index 100%\n"
        "rename old kernel/evil.c\nrename new drivers/x.c\n"
    ),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_git_reads_no_other_name(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A diff that git would apply to a file that the lab does not see is refused, wherever one stands."""
    (tmp_path / "repository/folder").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(tmp_path / "repository")], check=True)
    for place in (tmp_path, tmp_path / "repository/folder"):
        monkeypatch.chdir(place)
        with pytest.raises(UserError, match=r"writes 'kernel/evil\.c' in a way of its own"):
            read_series(written(tmp_path, mail("[PATCH] x", HIDDEN[how])))


def test_carriage_return_ends_no_line(tmp_path: Path) -> None:
    """What follows a bare one is no header of a hunk, for git as for the lab."""
    hidden = SEEN.replace("int c;\n", "int c;\r@@ -1,3 +1,3 @@\n") + SEEN.replace("drivers/x", "kernel/evil")
    assert touched_paths(hidden.encode()) == ("drivers/x.c", "kernel/evil.c")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.sampled_from([change("[PATCH 1/2] a"), change("[PATCH 2/2] b", "two"), DIFF.format(file="three")]),
        max_size=3,
    ),
    noise=st.binary(max_size=60),
    at=st.integers(0, 2000),
    drop=st.integers(0, 40),
)
def test_fuzzed_mail_is_read_or_refused(
    tmp_path: Path, pieces: list[str], noise: bytes, at: int, drop: int
) -> None:
    """Whatever is done to a mailbox, it is a series or a UserError."""
    data = "".join(pieces).encode()
    try:
        series = read_series(written(tmp_path, data[:at] + noise + data[at + drop :]))
    except UserError as error:
        assert error.message
    else:
        assert series.patches
        assert all(not path.startswith("/") and ".." not in path.split("/") for path in series.touched)


@given(st.binary(max_size=300))
def test_fuzzed_diff_never_escapes(noise: bytes) -> None:
    """Paths of a diff lie inside the tree, or the diff is refused."""
    try:
        paths = touched_paths(b"diff --git a/lib/x.c b/lib/x.c\n" + noise)
    except BadDiff:
        return
    assert all(".." not in path.split("/") for path in paths)
