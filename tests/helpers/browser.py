"""A headless Chromium, driven through its WebDriver with the standard library alone."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from contextlib import suppress
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--window-size=1300,1400",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"left": "\ue012", "up": "\ue013", "right": "\ue014", "down": "\ue015", "enter": "\ue007", "escape": "\ue00c"}
KEYS |= {"end": "\ue010", "home": "\ue011", "page up": "\ue00e", "page down": "\ue00f", "tab": "\ue004"}


def missing():
    """Why there is no browser; "" if there is one."""
    names = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return f"{' and '.join(names)} not installed (Debian: chromium, chromium-driver)" if names else ""


class Browser:
    """One window."""

    def __init__(self):
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._address = f"http://127.0.0.1:{self._port()}"
        options = {"binary": shutil.which("chromium"), "args": list(ARGUMENTS)}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._address += f"/session/{made['sessionId']}"

    def _port(self):
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rpartition(" ")[2])
        raise RuntimeError("chromedriver ended before it listened")

    def _send(self, method, path, content=None):
        body = json.dumps(content).encode() if content is not None else None
        request = Request(self._address + path, body, {"Content-Type": "application/json"}, method=method)
        try:
            with urlopen(request, timeout=100) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"].splitlines()[0]) from error

    def close(self):
        with suppress(RuntimeError, URLError):
            self._send("DELETE", "")
        self._driver.terminate()
        self._driver.wait()

    def open(self, path):
        self._send("POST", "/url", {"url": path.as_uri()})
        self.wait("return document.body.dataset.ready === 'yes'")

    def run(self, script, *arguments):
        """What a script returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script, seconds=60):
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}; {self.errors()}"
            time.sleep(0.02)
        return value

    def settle(self):
        """Wait for what the page draws in the next frame."""
        self._send("POST", "/execute/async", {"script": SETTLE, "args": []})

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector)

    def click(self, selector):
        element = self._send("POST", "/element", {"using": "css selector", "value": selector})
        self._send("POST", f"/element/{element[ELEMENT]}/click", {})
        self.settle()

    def choose(self, selector, value):
        self.run(
            "const it = document.querySelector(arguments[0]); it.value = arguments[1];"
            "it.dispatchEvent(new Event(it.matches('input') ? 'input' : 'change', {bubbles: true}))",
            selector,
            value,
        )
        self.settle()

    def focus(self, selector):
        self.run("document.querySelector(arguments[0]).focus()", selector)

    def press(self, *keys):
        """Press keys, by their names in KEYS or as letters."""
        presses = [KEYS.get(key, key) for key in keys]
        steps = [{"type": kind, "value": key} for key in presses for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": steps})

    def drag(self, start, end):
        """Drag the mouse from one point of the window to another."""
        steps = [
            {"type": "pointerMove", "x": round(start[0]), "y": round(start[1])},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": round(end[0]), "y": round(end[1]), "duration": 30},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": steps})

    def _act(self, source):
        self._send("POST", "/actions", {"actions": [source]})
        self.settle()

    def box(self, selector):
        """Where an element is in the window: x, y, width, height."""
        return self.run(BOX, selector)

    def resize(self, width, height):
        self._send("POST", "/window/rect", {"width": width, "height": height})
        self.settle()

    def prefer(self, scheme):
        """Let the system prefer light or dark colours."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self._send("POST", "/goog/cdp/execute", command)
        self.settle()

    def errors(self):
        """The errors that the page wrote to the console since the last call."""
        return [
            entry["message"]
            for entry in self._send("POST", "/se/log", {"type": "browser"})
            if entry["level"] == "SEVERE"
        ]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))


SETTLE = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
BOX = "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
