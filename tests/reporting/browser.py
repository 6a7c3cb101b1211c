"""A page as a real browser shows it: Chromium without a window, spoken to over its debugging pipe."""

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# The browser reads commands from descriptor 3 and answers on 4; both are moved out of the way first.
LAUNCH = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(read, 3), os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
LOOK = """(async () => {
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
  return {
    width: document.documentElement.scrollWidth,
    broken: [...document.images].filter(image => !image.naturalWidth).map(image => image.alt || image.src),
    scaling: [...new Set([...document.images].map(image => getComputedStyle(image).imageRendering))],
    page: getComputedStyle(document.body).backgroundColor,
    text: document.body.innerText,
  };
})()"""


def installed():
    """Return the path of a browser, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser process with one tab; a context manager."""

    def __init__(self, path, profile, seconds=60):
        self.deadline = time.monotonic() + seconds
        to_browser, self.commands = os.pipe()
        self.answers, from_browser = os.pipe()
        arguments = [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-ISc", LAUNCH, str(to_browser), str(from_browser), *arguments],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        fcntl.fcntl(self.answers, fcntl.F_SETFL, os.O_NONBLOCK)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None

    def __enter__(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        # The browser's processes are one group of their own, which this object started.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.commands)
        os.close(self.answers)

    def call(self, method, **parameters):
        """Send a command and return its answer; what happens meanwhile is kept in ``events``."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], max(0, self.deadline - time.monotonic()))
            assert ready, "the browser did not answer in time"
            chunk = os.read(self.answers, 1 << 20)
            assert chunk, "the browser went away"
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def wait_for(self, method):
        """Wait for an event that comes after the last command, or came during it."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._next())

    def look(self, url, width=1280, scheme="light"):
        """Open a page and return what can be said of it: width, broken images, messages, addresses, text."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")
        found = self.call("Runtime.evaluate", expression=LOOK, awaitPromise=True, returnByValue=True)["result"]["value"]
        # Errors of loading are told a moment after the page is ready: an answer from the same tab comes after them.
        self.call("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 50))", awaitPromise=True)
        return {**found, "messages": [*self._messages()], "requests": [*self._requests()]}

    def _messages(self):
        for event in self.events:
            about = event.get("params", {})
            if event.get("method") == "Runtime.consoleAPICalled":
                yield " ".join(str(one.get("value", one.get("description"))) for one in about["args"])
            if event.get("method") == "Runtime.exceptionThrown":
                yield about["exceptionDetails"]["text"]
            if event.get("method") == "Log.entryAdded":
                yield about["entry"]["text"]

    def _requests(self):
        for event in self.events:
            if event.get("method") == "Network.requestWillBeSent":
                yield event["params"]["request"]["url"]

    def paper(self):
        """Return the colour behind the text of the page, as it was opened last, when a lover of the dark prints it."""
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        self.call("Emulation.setEmulatedMedia", media="print", features=dark)
        colour = "getComputedStyle(document.body).backgroundColor"
        found = self.call("Runtime.evaluate", expression=colour, returnByValue=True)["result"]["value"]
        self.call("Emulation.setEmulatedMedia", media="")
        return found

    def screenshot(self, path):
        """Save the whole page as it was opened last."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(b64decode(shot["data"]))

    def print(self, path):
        """Save the page as a PDF on A4."""
        sheet = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        path.write_bytes(b64decode(sheet["data"]))
