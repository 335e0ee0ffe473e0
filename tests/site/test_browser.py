# SPDX-License-Identifier: GPL-2.0-or-later
"""The site in headless Chromium, opened from its folder: layout, filters, comparison, nothing to complain."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from chromium import Chrome, headless

from lab.compare.boots import compare_boots
from lab.compare.ranges import compare_ranges
from lab.compare.words import percent
from lab.results.models import Clock, RunRecord
from lab.results.runfolder import RunFolder
from lab.site.payload import night_script
from lab.site.picture import Box, Column, Picture, Row

WIDE, NARROW = (1280, 900), (400, 800)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with headless(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def visit(browser: Chrome, page: Path, size: tuple[int, int] = WIDE, fragment: str = "") -> None:
    """Open a page in a window of that size; fails if the browser has anything to say."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size is NARROW}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")  # another fragment alone would not load the page anew
    browser.get(page.as_uri() + fragment)
    settled(browser)
    check_quiet(browser)


def settled(browser: Chrome) -> None:
    """Wait until the script has filled the page."""
    filled = "!document.getElementById('grid') || document.getElementById('grid').children.length > 0"
    wait_for(browser, f"return document.readyState === 'complete' && ({filled})")


def wait_for(browser: Chrome, script: str) -> None:
    deadline = time.monotonic() + 20
    while not browser.execute_script(script):
        assert time.monotonic() < deadline, f"not within 20 s: {script}"
        time.sleep(0.02)


def check_quiet(browser: Chrome) -> None:
    assert [line["message"] for line in browser.get_log("browser")] == []
    assert browser.execute_script("return window.pwned === undefined && document.images.length === 0")


def told(browser: Chrome) -> str:
    return browser.execute_script("return document.getElementById('told').textContent")


def choose(browser: Chrome, form: str, **values: str) -> None:
    """Set fields of a form as a user would, and let the page answer."""
    browser.execute_script(
        "for (const [name, value] of Object.entries(arguments[1])) {"
        " const field = document.getElementById(arguments[0]).elements[name]; field.value = value;"
        " for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true})); }",
        form,
        values,
    )


def kinds_of_pages(site: Path) -> list[Path]:
    """One page of each kind, and of the trials one that passed, one that failed and one that crashed."""
    trials = sorted(site.glob("trials/*0002/*first-touch-qxl-6.1*.html"))
    assert len(trials) == 2
    failed = next(site.glob("trials/*0002/*bochs*.html"))
    names = (
        "index.html",
        "nights.html",
        "trends.html",
        "compare.html",
        "trends/prefault.first-touch-qxl-virtual.html",
    )
    return [*(site / name for name in names), *trials, failed]


OVERLAPS = """
const found = [], told = (e) => e.outerHTML.slice(0, 80);
const matters = (e) => {
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  return box.width > 1 && box.height > 1 && !['fixed', 'absolute', 'sticky'].includes(style.position)
    && !style.display.startsWith('inline') && !['OPTION', 'TBODY', 'THEAD'].includes(e.tagName);
};
for (const parent of document.querySelectorAll('body, body *:not(svg, svg *)')) {
  const children = [...parent.children].filter(matters);
  for (let i = 1; i < children.length; i++) {
    const [a, b] = [children[i - 1].getBoundingClientRect(), children[i].getBoundingClientRect()];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1 && high > 1) found.push(told(children[i - 1]) + ' / ' + told(children[i]));
  }
}
for (const text of document.querySelectorAll('svg text')) {
  const box = text.getBoundingClientRect(), frame = text.ownerSVGElement.getBoundingClientRect();
  const out = [frame.left - box.left, box.right - frame.right,
    frame.top - box.top, box.bottom - frame.bottom];
  if (Math.max(...out) > 2) found.push('outside of its drawing: ' + text.textContent);
}
return found;
"""


UNSEEN = """
return [...document.querySelectorAll('.end, .decision, .mark, h1, h2, th')]
  .filter((e) => e.textContent.trim())
  .filter((e) => !e.closest('details:not([open])') && !e.closest('noscript'))
  .map((e) => [e, e.getBoundingClientRect()])
  .filter(([, box]) => box.width < 2 || box.height < 2 || box.right < 0)
  .map(([e]) => e.outerHTML);
"""


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_layout(browser: Chrome, shown: Path, size: tuple[int, int]) -> None:
    """Nothing is wider than the window, nothing lies over its neighbour, in any kind of page."""
    for page in kinds_of_pages(shown):
        visit(browser, page, size)
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= size[0], page
        assert browser.execute_script(OVERLAPS) == [], page
        assert browser.execute_script(UNSEEN) == [], page


def test_the_layout_test_sees(browser: Chrome, shown: Path) -> None:
    """A page that is too wide, and one whose parts overlap, would be found."""
    visit(browser, shown / "nights.html")
    browser.execute_script("document.querySelector('h1').style.marginBottom = '-40px'")
    assert browser.execute_script(OVERLAPS) != []
    browser.execute_script("document.querySelector('h1').style.width = '2000px'")
    assert browser.execute_script("return document.documentElement.scrollWidth") > 1280
    browser.execute_script("console.error('a complaint')")
    with pytest.raises(AssertionError, match="a complaint"):
        check_quiet(browser)


def test_dark_and_light(browser: Chrome, shown: Path) -> None:
    """As the reader's system has it."""
    grounds = []
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        visit(browser, shown / "index.html")
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]


def test_links_of_the_matrix(browser: Chrome, shown: Path) -> None:
    """Every link that the script makes leads to a page, and a click on a cell to its trial."""
    for page in (shown / "index.html", next(shown.glob("nights/*0002.html"))):
        visit(browser, page)
        links = browser.execute_script("return [...document.querySelectorAll('#grid a')].map((a) => a.href)")
        assert len(links) > 15
        for link in links:
            assert Path(unquote(urlsplit(link).path)).is_file(), link
    browser.execute_script("document.querySelector('.matrix td.bad a').click()")
    wait_for(browser, "return document.querySelector('header.verdict') !== null")
    assert re.search("CRASH|TIMEOUT", browser.title)
    check_quiet(browser)


def outcomes(browser: Chrome) -> list[str]:
    """Of the cells that match, in the order shown."""
    ends = "[...document.querySelectorAll('#grid td:not(.off) .end')].map((e) => e.textContent)"
    return browser.execute_script(f"return {ends}.filter((text) => text !== '-')")


def test_filters(browser: Chrome, shown: Path) -> None:
    """By text, outcome, machine, topic, kernel and mark; together; and back again."""
    visit(browser, shown / "index.html")
    everything = outcomes(browser)
    assert len(everything) == 15 and told(browser) == "15 cells"
    browser.execute_script("document.querySelector('[data-outcome=TIMEOUT]').click()")
    assert outcomes(browser) == ["TIMEOUT"] and told(browser) == "1 of 15 cells"
    browser.execute_script("document.querySelector('[data-outcome=CRASH]').click()")
    assert sorted(outcomes(browser)) == ["CRASH", "TIMEOUT"]
    choose(browser, "filters", q="NO frame debian:6.18")
    assert outcomes(browser) == ["TIMEOUT"]
    choose(browser, "filters", q="there is no such word")
    assert outcomes(browser) == [] and "No cell" in browser.page_source
    browser.execute_script("document.querySelector('#filters [type=reset]').click()")
    wait_for(browser, "return document.getElementById('told').textContent === '15 cells'")
    for field, value, count in (
        ("machine", "bochs", 2),
        ("topic", "smoke", 4),
        ("kernel", "debian:6.18", 4),
        ("mark", "new", 2),
        ("mark", "unchanged", 1),
        ("mark", "expected", 1),
    ):
        choose(browser, "filters", **{field: value})
        assert len(outcomes(browser)) == count, (field, value)
        choose(browser, "filters", **{field: ""})
    assert outcomes(browser) == everything
    choose(browser, "filters", view="list")
    assert len(outcomes(browser)) == 15 and outcomes(browser)[0] in ("CRASH", "PASS")
    check_quiet(browser)


def test_a_view_can_be_linked_to(browser: Chrome, shown: Path) -> None:
    """The address says what is filtered, and brings it back."""
    visit(browser, shown / "index.html")
    choose(browser, "filters", q="touch", machine="qxl")
    browser.execute_script("document.querySelector('[data-outcome=PASS]').click()")
    before, fragment = outcomes(browser), browser.execute_script("return location.hash")
    visit(browser, shown / "index.html", fragment=fragment)
    assert outcomes(browser) == before and 0 < len(before) < 15


def test_keys(browser: Chrome, shown: Path) -> None:
    """One cell is in the order of the tab key; arrows go to its neighbours."""
    visit(browser, shown / "index.html")
    assert (
        browser.execute_script("return document.querySelectorAll('.matrix td a[tabindex=\"0\"]').length") == 1
    )
    browser.execute_script("document.querySelector('.matrix td a[tabindex=\"0\"]').focus()")
    from selenium.webdriver.common.keys import Keys

    def place() -> list[int]:
        return browser.execute_script(
            "const c = document.activeElement.closest('td'); return [c.parentElement.rowIndex, c.cellIndex]"
        )

    first = place()
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert place()[0] > first[0]
    browser.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert place() == first
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def lines(browser: Chrome) -> dict[tuple[str, str], list[str]]:
    """Of the comparison: by case with machine, and metric."""
    rows = browser.execute_script(
        "return [...document.querySelectorAll('.compared tbody tr')].map((row) =>"
        " [...row.cells].map((cell) => (cell.firstChild ? cell.innerText.trim() : '')))"
    )
    found, case = {}, ""
    for row in rows:
        case = row[0].removesuffix(" A B") or case
        found[case.replace("\n", " "), row[1]] = row[2:]
    return found


def test_comparison(browser: Chrome, shown: Path) -> None:
    """What is judged is judged as lab compare does; wall time is not; what is missing is n/a."""
    visit(browser, shown / "compare.html")
    choose(browser, "sides", akernel="debian:6.12", bkernel="debian:6.12 + prefault/pmd-size")
    wait_for(browser, "return location.hash.includes('bkernel=debian%3A6.12+%2B')")
    found = lines(browser)
    cell = next(key for key in found if key[0].startswith("prefault/first-touch qxl") and "longest" in key[1])
    assert found[cell][:5] == ["31,000", "318,506", "x10.3", "virtual", "worse"]
    by = {
        (case.split()[0], case.split()[1].rstrip(","), metric): row for (case, metric), row in found.items()
    }
    assert by["prefault/first-touch", "qxl", "page faults"][4] == "better*"
    assert by["prefault/sparse-touch", "qxl", "page faults"][:5] == ["4", "n/a", "-", "count", "undecided"]
    assert by["smoke/boot", "virtio-gpu", "longest touch, ns"][3:5] == ["functional", "not judged"]
    assert by["smoke/boot", "virtio-gpu", "page faults"][4] == "same"
    real = by["prefault/first-touch", "host", "longest touch, ns"]
    finding = compare_boots([1000.0 + n for n in range(1, 8)], [1200.0 + 3 * n for n in range(1, 8)], 0.05)
    assert finding.direction == 1 and finding.interval and real[3:5] == ["real", "worse"]
    assert real[5] == "95 % interval {} to {}".format(*map(percent, finding.interval))
    choose(browser, "filters", decision="not judged")
    assert {row[4] for row in lines(browser).values()} == {"not judged"}
    choose(browser, "filters", decision="", clock="count")
    assert {row[3] for row in lines(browser).values()} == {"count"}
    check_quiet(browser)


def test_comparison_of_two_nights(browser: Chrome, shown: Path) -> None:
    """A kernel with itself a night before: from another file; boots of two nights are no pairs. And back."""
    nights = sorted(path.stem for path in shown.glob("nights/*.js"))
    visit(browser, shown / "compare.html")
    choose(browser, "sides", anight=nights[0], bnight=nights[1])
    choose(browser, "sides", akernel="debian:6.12", bkernel="debian:6.12")
    wait_for(
        browser, "return location.hash.includes('bkernel=debian%3A6.12') && location.hash.includes('0001')"
    )
    wait_for(browser, "return document.querySelector('#grid').innerText.includes('31,000')")
    found = {
        (case.split()[0], case.split()[1].rstrip(","), metric): row
        for (case, metric), row in lines(browser).items()
    }
    assert found["prefault/first-touch", "qxl", "longest touch, insn"][:3] == ["20,906", "31,000", "+48.3 %"]
    assert "no pairs" in found["prefault/first-touch", "host", "longest touch, ns"][5]
    browser.execute_script("document.getElementById('swap').click()")
    wait_for(browser, "return document.querySelector('#grid').innerText.includes('-32.6 %')")
    check_quiet(browser)


def test_the_rules_are_those_of_lab_compare(browser: Chrome, shown: Path) -> None:
    """The script decides 400 made-up comparisons as the lab does."""
    visit(browser, shown / "compare.html")
    chance = random.Random(6)
    asked = []
    for n in range(400):
        size = chance.choice([1, 2, 5, 6, 7, 12])
        base = [float(chance.choice([100, 100, 101, 110, 1000])) for _ in range(size)]
        factor = chance.choice([0.5, 0.97, 1.0, 1.0, 1.02, 1.1, 3.0])
        patched = [value * factor + chance.choice([0, 0, 0, 1]) for value in base]
        asked.append([n % 2, base, patched, chance.choice([0.0, 0.02, 0.1])])
    said = browser.execute_script(
        "return arguments[0].map(([boots, a, b, tolerance]) =>"
        " (boots ? faultlab.compareBoots : faultlab.compareRanges)(a, b, tolerance))",
        asked,
    )
    directions = set()
    for (boots, base, patched, tolerance), answer in zip(asked, said, strict=True):
        finding = (compare_boots if boots else compare_ranges)(base, patched, tolerance)
        assert answer["direction"] == finding.direction, (boots, base, patched, tolerance)
        assert answer["change"] == (None if finding.change is None else pytest.approx(finding.change))
        directions.add((boots, finding.direction))
    assert len(directions) == 8


def many_cells(site: Path) -> int:
    """Put a night of 10,000 cells in the place of the newest one's data."""
    data = sorted(site.glob("nights/*.js"))[-1]
    columns = [Column(f"debian:6.{n}", "", "") for n in range(40)]
    rows = [Row(f"topic-{n % 9}/case-{n}", "qxl", Clock.VIRTUAL) for n in range(250)]
    boxes = [
        Box(column, row, data.stem, (), f"reason {n}") for column in columns for n, row in enumerate(rows)
    ]
    record = RunRecord(
        id=data.stem, workflow="nightly", command=(), lab_version="0", created="2026-01-02T01:00:00Z"
    )
    picture = Picture(RunFolder(Path(data.stem)), record, None, columns, rows, boxes, {})
    data.write_text(night_script(picture, news=frozenset(), rates={}, trends=frozenset(), pages=frozenset()))
    return len(boxes)


def test_ten_thousand_cells(browser: Chrome, shown: Path, tmp_path: Path) -> None:
    """They are there at once, some of them in the page: filtering and paging stay quick."""
    site = tmp_path / "site"
    shutil.copytree(shown, site)
    assert many_cells(site) == 10_000
    begun = time.monotonic()
    visit(browser, site / "index.html")
    assert time.monotonic() - begun < 10
    assert told(browser) == "10,000 cells"
    assert browser.execute_script("return document.querySelectorAll('*').length") < 3000
    took = browser.execute_async_script(
        "const done = arguments[0], begun = performance.now();"
        " const field = document.getElementById('filters').elements.q; field.value = 'case-24 6.17';"
        " field.dispatchEvent(new Event('input', {bubbles: true}));"
        " requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)))"
    )
    assert took < 2000
    assert told(browser) == "11 of 10,000 cells"
    choose(browser, "filters", q="")
    browser.execute_script("document.querySelector('[aria-label=\"next kernels\"]').click()")
    heads = browser.execute_script(
        "return [...document.querySelectorAll('.matrix thead th')].map((h) => h.innerText)"
    )
    assert heads[1] == "debian:6.12" and len(heads) == 13
    browser.execute_script("document.querySelector('[aria-label=\"next rows\"]').click()")
    assert "rows 61 to 120 of 250" in browser.page_source
    assert browser.execute_script("return document.documentElement.scrollWidth") <= WIDE[0]
    check_quiet(browser)


def test_without_javascript(shown: Path) -> None:
    """A page says what needs it, and lists what did not pass all the same."""
    text = (shown / "index.html").read_text()
    without = " ".join(re.findall(r"<noscript>(.*?)</noscript>", text, re.DOTALL))
    assert "need JavaScript" in without and "no frame for 60 s" in without
    assert "needs JavaScript" in (shown / "compare.html").read_text()
    assert json.loads((shown / "faultlab-site.json").read_text())["faultlab_site"] == 1
