# SPDX-License-Identifier: GPL-2.0-or-later
"""The site without a browser: what it says, what it refuses, and that nothing in it comes alive."""

from __future__ import annotations

import html.parser
import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from commandline import CommandLine

from lab.errors import UserError
from lab.results.runfolder import RunFolder
from lab.site import night, place, trial
from lab.site.names import lasting, slug, trial_page, when
from lab.site.payload import as_script
from lab.workflow.site import make_site


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capfd)


class Seen(html.parser.HTMLParser):
    """Elements and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "data-src")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def text_of(path: Path) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", path.read_text()).split())


def page_of(site: Path, run: RunFolder, words: str) -> Path:
    """The page of the only trial whose key has these words."""
    (found,) = (site / "trials" / run.path.name).glob(f"*{words}*.html")
    return found


def check_links(site: Path) -> int:
    """All that a page names is there, in the site; how many links there are."""
    seen = 0
    for page in pages(site):
        for link in Seen(page.read_text()).links:
            if link == "data:," or link.startswith("#"):
                continue
            assert "://" not in link
            target = (page.parent / unquote(urldefrag(link)[0])).resolve()
            assert target.is_file() and target.is_relative_to(site), f"{page}: {link}"
            seen += 1
    return seen


def test_every_link_resolves(site: Path) -> None:
    """Pages, style, script and data; none lies outside of the site."""
    assert check_links(site) > 300


def test_links_of_the_matrix_resolve(site: Path) -> None:
    """Those that the script makes out of the data."""
    data = night_data(site, -1)
    linked = [box[4] for box in data["boxes"] if box[4]] + [row[3] for row in data["rows"] if row[3]]
    assert len(linked) > 15 and all((site / link).is_file() for link in linked)


def night_data(site: Path, which: int) -> dict:
    script = sorted((site / "nights").glob("*.js"))[which].read_text()
    assert script.startswith("faultlab.night(") and script.endswith(");\n")
    return json.loads(script.removeprefix("faultlab.night(").removesuffix(");\n"))


def test_nothing_of_a_guest_comes_alive(site: Path, nights: list[RunFolder]) -> None:
    """No page has an element, a script or a handler that our templates do not have."""
    for page in pages(site):
        seen = Seen(page.read_text())
        assert "img" not in seen.tags and seen.handlers == []
        assert seen.tags.count("script") == len(
            re.findall(r'<script src="[./]*(?:site|nights/[\w.-]+)\.js" defer>', page.read_text())
        )
        assert not set("\x00\x1b\u202e") & set(page.read_text())
    for script in site.glob("nights/*.js"):
        assert not set("<>&\x00\x1b\u202e\u2028") & set(script.read_text())
    page = page_of(site, nights[1], "first-touch-qxl-6.18")
    assert "&lt;script&gt;window.pwned" in page.read_text()
    console = page.with_name(page.name.replace(".html", ".console.txt"))
    assert console.read_bytes() == (nights[1].trial_path(page.stem) / "console.log").read_bytes()


def test_script_safe_data() -> None:
    """The data can neither end a script nor begin markup, and is the same when read."""
    nasty = "</script><!-- ]]> & \u2028\u2029 \ud800"
    text = as_script("f", {"a": nasty})
    assert not set("<>&\u2028\u2029") & set(text) and text.isascii()
    assert json.loads(text[2:-3]) == {"a": nasty}
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_script("f", float("nan"))


def test_a_trial_has_its_evidence(site: Path, nights: list[RunFolder]) -> None:
    """Console, command line, drawing, reason, splat, numbers with clock and accelerator, how to repeat it."""
    crash = text_of(page_of(site, nights[1], "first-touch-qxl-6.18"))
    for words in (
        "CRASH",
        "panic:",
        "the end",
        "qemu-system-x86_64 -append",
        "console.log line 3",
        "as the guest sent it",
    ):
        assert words in crash, words
    page = page_of(site, nights[1], "first-touch-qxl-6.12-1")
    text = text_of(page)
    for words in (
        "longest touch max 31,000 insn virtual tcg",
        "page faults faults 128 count count tcg",
        "lab run prefault/first-touch --kernel",
        "--machine qxl",
    ):
        assert words in text, words
    assert '<svg class="plot"' in page.read_text()


def test_what_there_is_not_is_said(site: Path, nights: list[RunFolder]) -> None:
    """A number that a trial did not give is n/a; wall time is said to be never judged."""
    text = text_of(page_of(site, nights[1], "sparse-touch-qxl-patched"))
    assert "page faults faults n/a" in text
    assert "wall time under emulation: never judged" in text_of(
        page_of(site, nights[1], "boot-virtio-gpu-6.12")
    )
    trend = text_of(site / "trends" / "prefault.sparse-touch-qxl-virtual.html")
    assert "n/a: no night gave this number" in trend


def test_the_night_says_what_was_left_out(site: Path) -> None:
    """Budget, kernels that do not build and unchanged cells are told, and count as cells."""
    data = night_data(site, -1)
    by = {
        (data["rows"][b[0]][0], data["rows"][b[0]][1], data["kernels"][b[1]]["kernel"]): b
        for b in data["boxes"]
    }
    left_out = by["prefault/sparse-touch", "bochs", "debian:6.12"]
    assert (left_out[2], data["reasons"][left_out[5]]) == (6, "the time budget of 2 h is used up")
    assert "it does not build" in data["reasons"][by["prefault/first-touch", "qxl", "git:/a/tree@main"][5]]
    unchanged = by["smoke/boot", "qxl", "debian:6.12"]
    assert (unchanged[2], unchanged[3] & 8) == (4, 8)
    assert data["runs"][unchanged[8]] in unchanged[4]
    text = text_of(site / "index.html")
    assert "not to be had" in text and "was 6.12.43-1, now 6.12.44-1" in text


def test_faults_of_series_and_standing_failures(nights: list[RunFolder], tmp_path: Path) -> None:
    """A series that does not build is told from a kernel that is not to be had; what failed and was not run
    again is named with how and since when, also when the earlier night has gone."""
    path = nights[1].path / "night.json"
    told = json.loads(path.read_text())
    (key,) = told["unchanged"]
    told |= {"at_fault": ["none"], "still_broken": {key: "FAIL: content & <b>"}}
    path.write_text(json.dumps(told))
    text = text_of(make_site(tmp_path / "out", nights=14).path / "index.html")
    assert "its series does not apply or build" in text and "not to be had" not in text
    assert f"smoke/boot qxl debian:6.12 FAIL: content &amp; &lt;b&gt; {nights[0].path.name}" in text
    shutil.rmtree(nights[0].path)
    site = make_site(tmp_path / "out", nights=14).path
    reasons = night_data(site, -1)["reasons"]
    assert any("no longer there; it failed there: FAIL: content" in reason for reason in reasons)


def test_a_stranger_sees_no_path_of_this_machine(
    nights: list[RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matrix by its file's name; damage by its place in the runs; the cache of qemu.cmd by $HOME."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    path = nights[1].path / "night.json"
    told = json.loads(path.read_text())
    why = f"no room in {home}/.cache/faultlab"
    told |= {"matrix": f"{home}/faultlab/ci/nightly.yaml", "failed_kernels": {"none": why}}
    path.write_text(json.dumps(told))
    for one in nights[1].trials():
        (nights[1].trial_path(one.key) / "qemu.cmd").write_text(
            f"qemu -kernel {home}/.cache/faultlab/v -m 1\n"
        )
    (nights[0].trial_path(nights[0].trials()[0].key) / "trial.json").write_text("{")
    (nights[1].trial_path("0001-prefault.first-touch-qxl-6.12-1") / "trial.json").write_text("{")
    (nights[1].path.with_name("20260103T010000Z-nightly-made-0003")).mkdir()
    (nights[1].path.with_name("20260103T010000Z-nightly-made-0003") / "run.json").write_text("{")
    site = make_site(tmp_path / "out", nights=14).path
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".js", ".json")]
    assert len(files) > 30
    assert [path for path in files if str(tmp_path) in path.read_text()] == []
    index = text_of(site / "index.html")
    assert "Matrix nightly.yaml." in index and "no room in ~/.cache/faultlab" in index
    assert "-kernel $HOME/.cache/faultlab/v -m 1" in text_of(
        page_of(site, nights[1], "sparse-touch-qxl-patched")
    )
    assert "run 20260103T010000Z-nightly-made-0003 is passed over: run.json is damaged" in text_of(
        site / "nights.html"
    )


def test_many_damaged_runs_are_one_line(nights: list[RunFolder], tmp_path: Path, lab: CommandLine) -> None:
    """Runs of another format share a line, on the terminal and on the page, where each is named below it."""
    for number in range(124):
        old = nights[0].path.with_name(f"20250101T000000Z-run-old-{number:04x}")
        old.mkdir()
        record = json.loads((nights[0].path / "run.json").read_text())
        (old / "run.json").write_text(json.dumps(record | {"series_onto": "base"}))
    said = lab("site", tmp_path / "out")
    assert said.code == 0
    line = (
        "124 runs, 20250101T000000Z-run-old-0000 to 20250101T000000Z-run-old-007b, are passed over: "
        "run.json is of another format: series_onto: Extra inputs are not permitted"
    )
    assert line in said.stderr and said.stderr.count("run-old") == 2
    text = text_of(tmp_path / "out" / "nights.html")
    assert line in text and text.count("run-old") == 126
    told = lab("site", tmp_path / "out", "--json").json
    assert len(told["damaged"]) == 124


def test_what_is_new(site: Path) -> None:
    """The crash and the number that rose are told with the two kernels; so are their marks."""
    text = text_of(site / "index.html")
    assert "PASS -&gt; CRASH" in text and "longest touch 20,906 -&gt; 31,000" in text
    assert "debian:6.12.43-1 to debian:6.12.44-1" in text
    data = night_data(site, -1)
    new = {(data["rows"][b[0]][0], data["kernels"][b[1]]["kernel"]) for b in data["boxes"] if b[3] & 1}
    assert new == {("prefault/first-touch", "debian:6.18"), ("prefault/first-touch", "debian:6.12")}
    assert "There is no night before this one" in text_of(sorted((site / "nights").glob("*.html"))[0])


def test_trends_have_change_points(site: Path) -> None:
    """With unit, clock and accelerator; what did not move is told, not drawn."""
    page = site / "trends" / "prefault.first-touch-qxl-virtual.html"
    text = text_of(page)
    assert "longest touch, insn virtual clock, accelerator tcg, lower is better" in text
    assert "20,906 31,000 +48.3 % worse" in text and "318,506 in each of 2 nights" in text
    assert page.read_text().count('<svg class="plot trend"') == 1
    assert "+48.3 % worse" in text_of(site / "trends.html")


def test_foreign_folders_are_refused(site: Path, nights: list[RunFolder], tmp_path: Path) -> None:
    """A folder with files, a file, and a site that someone has put something into stay as they are."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="no site of faultlab"):
        make_site(foreign, nights=1)
    (foreign / place.MARK).write_text('{"something": "else"}')
    with pytest.raises(UserError, match="no site of faultlab"):
        make_site(foreign, nights=1)
    with pytest.raises(UserError, match="no folder"):
        make_site(foreign / "thesis.tex", nights=1)
    (site / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"something else in it: 'notes\.txt'"):
        make_site(site, nights=1)
    assert (foreign / "thesis.tex").read_text() == "years of work" and (site / "notes.txt").exists()


def test_made_again_in_one_step(site: Path, nights: list[RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    """A new site takes the old one's place whole; one that fails half-way leaves the old one alone."""
    before = (site / "index.html").stat().st_ino
    make_site(site, nights=1)
    assert (site / "index.html").stat().st_ino != before
    assert len(list((site / "nights").glob("*.html"))) == 1
    kept = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    monkeypatch.setattr(trial, "_facts", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_site(site, nights=14)
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == kept
    assert [path.name for path in site.parent.iterdir()] == [site.name]


def test_what_a_killed_lab_left_goes(nights: list[RunFolder], tmp_path: Path) -> None:
    """Beside OUT, wherever that is; what a living lab is making stays."""
    dead, alive = tmp_path / ".out.999999999.abcd", tmp_path / f".out.{os.getpid()}.abcd"
    for folder in (dead, alive):
        folder.mkdir()
    make_site(tmp_path / "out", nights=1)
    assert not dead.exists() and alive.exists()


def test_without_swapping(site: Path, nights: list[RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot swap two folders gets the new site all the same."""
    monkeypatch.setattr(place, "_EXCHANGE", 1 << 20)
    before = (site / "index.html").stat().st_ino
    make_site(site, nights=14)
    assert (site / "index.html").stat().st_ino != before
    assert [path.name for path in site.parent.iterdir()] == [site.name]


def test_older_nights(nights: list[RunFolder], tmp_path: Path) -> None:
    """--nights bounds what has pages; trends still go back."""
    out = make_site(tmp_path / "out", nights=1).path
    assert "1 older nights" in text_of(out / "nights.html")
    assert "+48.3 % worse" in text_of(out / "trends.html")
    assert check_links(out) > 100


def test_damage_is_named_and_passed_over(nights: list[RunFolder], tmp_path: Path) -> None:
    """A trial, a night.json and a whole run that cannot be read do not stop the rest."""
    (nights[1].trial_path("0001-prefault.first-touch-qxl-6.12-1") / "trial.json").write_text("{")
    (nights[0].path / "run.json").write_text('{"id": "</script>"}')
    site = make_site(tmp_path / "out", nights=14)
    assert any("run.json" in sentence for sentence in site.built.damaged)
    text = text_of(site.path / "index.html")
    assert "Passed over" in text and "trial.json is damaged" in text
    (nights[1].path / "night.json").write_text("[]")
    make_site(tmp_path / "out", nights=14)
    assert "night.json is damaged" in text_of(tmp_path / "out" / "index.html")


def test_odd_files_of_a_trial(nights: list[RunFolder], tmp_path: Path) -> None:
    """Links to other files of this host are not followed; samples that are none are said to be so."""
    folder = nights[1].trial_path("0001-prefault.first-touch-qxl-6.12-1")
    secret = tmp_path / "secret"
    secret.write_text("a secret of this host")
    for name in ("console.log", "qemu.cmd"):
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
    (folder / "samples" / "touches.txt").write_text("page insn\n0 </svg>\n")
    out = make_site(tmp_path / "out", nights=14).path
    text = text_of(page_of(out, nights[1], "first-touch-qxl-6.12-1"))
    assert "Not drawn: touches.txt line 2" in text and "n/a: no console was kept" in text
    assert not any("secret of this host" in page.read_text() for page in pages(out))


def test_long_consoles_are_bounded(nights: list[RunFolder], tmp_path: Path) -> None:
    """Of 20 MB a page shows the end, and the copy has both ends."""
    (crash,) = (t for t in nights[1].trials() if t.outcome == "CRASH")
    console = nights[1].trial_path(crash.key) / "console.log"
    console.write_bytes(b"the beginning\n" + b"x" * 20_000_000 + b"\nthe end\n")
    out = make_site(tmp_path / "out", nights=14).path
    copy = (out / "trials" / nights[1].path.name / f"{crash.key}.console.txt").read_bytes()
    assert len(copy) < 1_100_000 and copy.startswith(b"the beginning") and copy.endswith(b"the end\n")
    assert b"bytes left out" in copy
    assert (out / trial_page(nights[1].path.name, crash.key)).stat().st_size < 200_000


def test_all_consoles_together_are_bounded(
    nights: list[RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that fails in thousands of cells fills no disk: the later trials have their last lines."""
    monkeypatch.setattr(night, "MAX_EVIDENCE", {True: 1, False: 1})
    folder = make_site(tmp_path / "out", nights=14).path / "trials" / nights[1].path.name
    failed = [t.key for t in nights[1].trials() if t.outcome in ("FAIL", "CRASH", "TIMEOUT")]
    assert len(failed) == 3 and len(list(folder.glob("*.console.txt"))) == 1
    assert all("the end" in text_of(folder / f"{key}.html") for key in failed)


def test_the_command(lab: CommandLine, tmp_path: Path) -> None:
    """No night is a matter of the user; a site prints where to begin."""
    lab("site", tmp_path / "out").check_refusal(2, "no night", "lab nightly")
    assert not (tmp_path / "out").exists()


def test_the_command_with_nights(lab: CommandLine, nights: list[RunFolder], tmp_path: Path) -> None:
    said = lab("site", tmp_path / "out")
    assert (said.code, said.stdout) == (0, f"{tmp_path}/out/index.html\n")
    told = lab("site", tmp_path / "out", "--json", "--nights", "1").json
    assert told["nights"] == 1 and told["trials"] == len(nights[1].trials()) + 1 and told["damaged"] == []
    lab("site", tmp_path / "out", "--nights", "0").check_refusal(2, "nights")
    shutil.rmtree(nights[1].path)
    assert lab("site", tmp_path / "out", "--json").json["nights"] == 1


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a b", "%2e", "x" * 300, "\ud800", "-rf", "con?x#y"])
def test_names_of_files(name: str) -> None:
    """Whatever a run folder calls its trials, the page lies in the site and can be linked to."""
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,119}", slug(name))
    assert slug(name) != slug(name + "!")


def test_times() -> None:
    assert when("2026-11-21T03:02:03+02:00") == "2026-11-21 01:02 UTC"
    assert when("") == when("0001-01-01T00:00:00+23:59") == "n/a"
    assert (lasting(3.26), lasting(95), lasting(7260)) == ("3.3 s", "1 min 35 s", "2 h 1 min")
