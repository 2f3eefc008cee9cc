"""Notebook 00 in a real browser: JupyterLab, Chromium, real clicks.

Needs a Chromium (Debian: ``apt install chromium``) or the path of one in ``TCGLITE_CHROMIUM``;
skipped where there is none, except in CI, where that is an error. The pictures that it takes are
kept in pytest's temporary folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tcglite.lab import launch

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = (os.environ.get("TCGLITE_CHROMIUM") or shutil.which("chromium")
            or shutil.which("chromium-browser") or shutil.which("google-chrome"))
pytestmark = pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"),
                                reason="no Chromium here; set TCGLITE_CHROMIUM to one")

SECOND = 1000       # playwright counts milliseconds


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """JupyterLab as ``tcglite lab`` starts it, on a copy of the notebooks; its address."""
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(launch.notebooks() / launch.FIRST, folder)
    port = free_port()
    line, environment = launch.command(folder, [
        "--no-browser", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password="])
    home = tmp_path_factory.mktemp("home")
    environment |= {"HOME": str(home), "JUPYTER_RUNTIME_DIR": str(home / "run"),
                    "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
                    "JUPYTERLAB_SETTINGS_DIR": str(home / "settings")}
    log = (home / "server.log").open("w")
    process = subprocess.Popen(line, env=environment, stdout=log, stderr=log,
                               start_new_session=os.name == "posix")
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, (home / "server.log").read_text()
                assert time.monotonic() < deadline, "JupyterLab did not start within a minute"
                time.sleep(0.2)
        yield address
    finally:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    assert CHROMIUM, "CI must install chromium: see tools/apt-packages.sh"
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(server, browser) -> Iterator[sync_api.Page]:
    """Notebook 00, opened, its kernel idle, nothing run yet."""
    opened = browser.new_page(viewport={"width": 1400, "height": 1000})
    opened.goto(f"{server}/lab/tree/{launch.FIRST}?reset")
    opened.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-content", timeout=60 * SECOND)
    sync_api.expect(opened.locator("#jp-main-statusbar")).to_contain_text(
        "| Idle", timeout=60 * SECOND)
    yield opened
    opened.close()


def run(page: sync_api.Page, number: int) -> sync_api.Locator:
    """Run code cell ``number`` (from 0) with the keyboard; the cell."""
    cell = page.locator(".jp-CodeCell").nth(number)
    cell.scroll_into_view_if_needed()
    cell.locator(".cm-content").first.click()
    page.keyboard.press("Control+Enter")
    return cell


def button(cell: sync_api.Locator, name: str) -> sync_api.Locator:
    return cell.get_by_role("button", name=name, exact=True)


def test_a_student_presses_ring_and_sees_the_interrupt(page, tmp_path):
    page.screenshot(path=tmp_path / "0-opened.png")
    cell = run(page, 0)
    button(cell, "Ring").wait_for(timeout=60 * SECOND)
    status = cell.get_by_role("status")
    sync_api.expect(status).to_contain_text("running", timeout=30 * SECOND)
    button(cell, "Ring").click()
    picture = cell.locator(".widget-html-content svg").first
    sync_api.expect(picture).to_be_visible(timeout=30 * SECOND)
    sync_api.expect(cell.locator("pre").first).to_contain_text("I", timeout=30 * SECOND)
    taken = cell.get_by_role("row", name=re.compile("interrupts taken"))
    sync_api.expect(taken).to_contain_text("1", timeout=30 * SECOND)
    page.screenshot(path=tmp_path / "1-rung.png")
    button(cell, "Freeze").click()
    sync_api.expect(status).to_contain_text("frozen", timeout=30 * SECOND)
    button(cell, "◀ mark").click()
    sync_api.expect(cell).to_contain_text(re.compile(r"mark \d+ of \d+"), timeout=30 * SECOND)
    page.screenshot(path=tmp_path / "2-frozen.png")
    button(cell, "Stop").click()
    sync_api.expect(status).to_contain_text("stopped", timeout=30 * SECOND)
    assert cell.get_by_role("alert").count() == 0


def errors(page: sync_api.Page) -> list[str]:
    """What stands in red on the page."""
    return page.locator("[data-mime-type='application/vnd.jupyter.stderr'], "
                        "[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()


def test_the_notebook_from_top_to_bottom(page, tmp_path):
    """Each cell that is not folded, in order; a bet; ten keys for the deaf twin."""
    cells = json.loads((launch.notebooks() / launch.FIRST).read_text(encoding="utf-8"))["cells"]
    folded = next(k for k, c in enumerate(cells) if "jp-MarkdownHeadingCollapsed" in c["metadata"])
    for number in range(sum(c["cell_type"] == "code" for c in cells[:folded])):
        cell = run(page, number)
        sync_api.expect(cell.locator(".jp-InputPrompt").first).to_have_text(
            re.compile(r"\[\d+\]:"), timeout=60 * SECOND)
        code = cell.locator(".cm-content").first.inner_text()
        if "Bet(" in code:
            button(cell, "D").click()
            button(cell, "Place the bet").click()
            sync_api.expect(cell.get_by_role("status").last).to_contain_text(
                re.compile("Right|No:"), timeout=30 * SECOND)
        if "twin=True" in code:
            sync_api.expect(cell.get_by_role("status").first).to_contain_text(
                "running", timeout=30 * SECOND)
            page.wait_for_timeout(1500)     # both guests reach their loops
            for _ in range(10):
                button(cell, "Ring").click()
            taken = cell.get_by_role("row", name=re.compile("interrupts taken"))
            sync_api.expect(taken).to_contain_text("10", timeout=30 * SECOND)
            assert taken.get_by_role("cell").last.inner_text() == "0"
            button(cell, "Stop").click()
        cell.screenshot(path=tmp_path / f"cell-{number:02}.png")
    sync_api.expect(page.locator(".jp-Notebook")).to_contain_text("against unicorn")
    assert errors(page) == []
