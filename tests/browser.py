"""A real browser for tests: the system's Chromium, headless, alone with its own profile."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
"""Without a name server nothing can be loaded from anywhere."""
SECONDS = 60
MISSING = "no Chromium and chromedriver: install them (Debian: apt-get install chromium-driver)"


def programs() -> tuple[str, str] | None:
    """The paths of Chromium and its driver; None where one is missing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    chromium = chromium or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


@contextmanager
def browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """Start Chromium with a fresh profile and end it; skips the test where there is none."""
    found = programs()
    if found is None:
        pytest.skip(MISSING)
    options = Options()
    options.binary_location = found[0]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(found[1], log_output=subprocess.DEVNULL, env={**os.environ})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(SECONDS)
        driver.set_script_timeout(SECONDS)
        yield driver
    finally:
        driver.quit()


def resize(driver: webdriver.Chrome, width: int, height: int, mobile: bool = False) -> None:
    """Give the page a viewport of exactly this size, as a window or as a phone would."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def complaints(driver: webdriver.Chrome) -> list[str]:
    """What the console has said since the last call: errors, warnings, refused resources."""
    return [f"{one['level']}: {one['message']}" for one in driver.get_log("browser")]


def pdf(driver: webdriver.Chrome) -> bytes:
    """The page as it would be printed, A4 with backgrounds."""
    paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
    printed: dict[str, Any] = driver.execute_cdp_cmd("Page.printToPDF", paper)
    return base64.b64decode(printed["data"])


def value(driver: webdriver.Chrome, expression: str) -> Any:
    """What an expression is in the page, as Python's types."""
    return json.loads(driver.execute_script(f"return JSON.stringify({expression})"))
