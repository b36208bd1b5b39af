"""A real headless Chromium, driven through chromedriver's own HTTP interface (W3C WebDriver): no package needed."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--force-prefers-reduced-motion",  # a page that still glides is not where the click goes
)  # fmt: skip
PATIENCE = 60.0  # seconds for a browser to start or to answer
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the driver listens on this machine


class Page:
    """One page in its own browser."""

    def __init__(self, address: str, session: str) -> None:
        self._address, self._session = address, session

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """One command of the session; GET without a body."""
        return _ask(f"{self._address}/session/{self._session}{path}", body)

    def open(self, file: Path) -> None:
        self.ask("/url", {"url": file.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """The value that a script returns."""
        return self.ask("/execute/sync", {"script": script, "args": []})

    def click(self, selector: str) -> None:
        """A real click of the mouse: refused where something covers the element."""
        found = self.ask("/element", {"using": "css selector", "value": selector})
        self.ask(f"/element/{next(iter(found.values()))}/click", {})

    def type(self, selector: str, text: str) -> None:
        found = self.ask("/element", {"using": "css selector", "value": selector})
        self.ask(f"/element/{next(iter(found.values()))}/value", {"text": text})

    def send(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def resize(self, width: int, height: int) -> None:
        """The size of the page as a device has it, below the least window too."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last call: of "browser" or "performance"."""
        return list(self.ask("/se/log", {"type": kind}))

    def requested(self) -> list[str]:
        """The addresses that the page asked for."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        sent = (event for event in events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def printed(self) -> bytes:
        """As PDF; by Chromium's own command, because the driver's gives a slow machine ten seconds."""
        return base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"])

    def picture(self) -> bytes:
        return base64.b64decode(self.ask("/screenshot"))


def _ask(url: str, body: dict[str, Any] | None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with _DIRECT.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as refused:
        raise RuntimeError(json.load(refused)["value"]["message"].splitlines()[0]) from None


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with an empty profile in `folder`, ended with its driver whatever happens."""
    log = folder / "chromedriver.log"
    with log.open("wb") as output, subprocess.Popen([str(DRIVER), "--port=0"], stdout=output, stderr=output) as driver:
        try:
            address = f"http://127.0.0.1:{_port(log, driver)}"
            session = _ask(f"{address}/session", {"capabilities": {"alwaysMatch": _wishes(folder / "profile")}})
            try:
                yield Page(address, session["sessionId"])
            finally:
                _ask(f"{address}/session/{session['sessionId']}", None, "DELETE")
        finally:
            driver.terminate()


def _wishes(profile: Path) -> dict[str, Any]:
    options = {"binary": BROWSER, "args": [*FLAGS, f"--user-data-dir={profile}"]}
    return {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}


def _port(log: Path, driver: subprocess.Popen[bytes]) -> str:
    """The port that the driver chose, as it prints it in its first lines."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and driver.poll() is None:
        output = log.read_text(errors="replace")
        if "started successfully on port " in output:
            return output.rpartition("on port ")[2].split(".")[0].strip()
        time.sleep(0.05)
    raise RuntimeError(f"chromedriver did not start: {log.read_text(errors='replace')[-300:]}")
