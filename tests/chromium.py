# SPDX-License-Identifier: GPL-2.0-or-later
"""A headless Chromium for tests that look at pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # root has no other way, and the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
)
SECONDS = 30.0
"""For a page to load, and for a script."""

Chrome = Any  # selenium.webdriver.Chrome; the import would fail where there is none


@contextmanager
def headless(profile: Path) -> Iterator[Chrome]:
    """A browser that ends with the block. Skips where there is none, and fails in CI."""
    if not CHROMIUM or not DRIVER:
        assert not os.environ.get("CI"), "chromium and chromium-driver are missing: ci/system-packages tests"
        pytest.skip("needs the packages chromium and chromium-driver (ci/system-packages tests)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.set_page_load_timeout(SECONDS)
        driver.set_script_timeout(SECONDS)
        yield driver
    finally:
        driver.quit()
