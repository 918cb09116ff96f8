#!/usr/bin/env python3
"""web.py - softpm web: what it refuses, and its page in headless Chromium, clicked through as a user would.

Pictures of the page go to $SOFTPM_PICTURES, if that is a folder.
"""

import atexit
import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

BUILD = os.environ["SOFTPM_BUILD"]
TOOL = os.path.join(BUILD, "softpm")
WAIT_SECONDS = 30


def need(ok, what):
    if not ok:
        sys.exit(f"web: {what}")


def start(argv, **options):
    """A process that does not outlive this one."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **options)
    atexit.register(process.kill)
    return process


# ---- the server ----


class Server:
    def __init__(self, volume, *options):
        self.process = start([TOOL, "-v", volume, "web", *options])
        self.address = self.process.stdout.readline().strip()
        self.base, _, rest = self.address.partition("#")
        self.token = rest.split("&")[0]

    def ask(self, path, method="GET", token=None, headers=None):
        """Status, headers, body."""
        headers = {"X-SoftPM-Token": self.token if token is None else token, **(headers or {})}
        request = urllib.request.Request(self.base + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def status(self, *arguments, **named):
        return self.ask(*arguments, **named)[0]

    def stop(self):
        self.process.terminate()
        need(self.process.wait(WAIT_SECONDS) == 0, "the server's exit status")


def refusals(server):
    need(server.base.startswith("http://127.0.0.1:"), f"not on this machine only: {server.base}")
    need(server.status("api/info") == 200, "info with the token")
    need(server.status("api/info", token="") == 403, "no token")
    need(server.status("api/info", token="0" * 32) == 403, "a wrong token")
    need(server.status("api/nothing") == 404 and server.status("nothing") == 404, "a page that is not there")
    need(server.status("../etc/passwd") == 404 and server.status("api/../../etc/passwd") == 404, "a path that leads out")
    need(server.status("api/log") == 400, "an operand is missing")
    need(server.status("api/log?container=99") == 422, "a container that is not there")
    need(server.status("api/log?container=-d") == 422, "an operand like an option")
    need(server.status("api/log?container=7&limit=--help") == 422, "an option's value like an option")
    need(server.status("api/log?container=7&ref=" + "x" * 3000) == 422, "a long ref")
    need(server.status("api/info", method="POST") == 405, "POST where nothing changes")
    need(server.status("api/tag?container=7&name=x&ref=main", method="POST") == 403, "a change without --write")
    need(server.status("api/tag?container=7&name=x&ref=main") in (403, 405), "a change by GET")
    status, headers, body = server.ask("")
    need(status == 200 and b"<title>SoftPM" in body, "the page")
    need("default-src 'none'" in headers["Content-Security-Policy"], "the page's policy")
    need(server.ask("", token="")[0] == 200, "the page's files need no token")


# ---- a browser, by WebDriver ----


class Browser:
    ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

    def __init__(self, folder):
        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        self.driver = start([driver, "--port=0"], stderr=subprocess.DEVNULL)
        port = ""
        while "successfully on port " not in port:
            port = self.driver.stdout.readline()
            need(port, "chromedriver did not start")
        self.base = f"http://127.0.0.1:{port.rsplit('port ', 1)[1].strip().rstrip('.')}/session"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", f"--user-data-dir={folder}"]
        options = {"binary": chromium, "args": flags}
        made = self.send("POST", "", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
        self.base += "/" + made["sessionId"]

    def send(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()[:500]) from error

    def run(self, script, *arguments):
        return self.send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition, what):
        """Until the JavaScript expression is true; its value."""
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            value = self.run(f"return {condition}")
            if value:
                return value
            time.sleep(0.05)
        return sys.exit(f"web: {what}: {self.complaints()}: {self.run('return document.body.innerText')[:2000]}")

    def click(self, selector):
        """As a user does; what was drawn anew between looking and clicking is looked for again."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            self.wait(f"document.querySelector({json.dumps(selector)})", f"nothing is {selector}")
            try:
                element = self.send("POST", "/element", {"using": "css selector", "value": selector})
                self.send("POST", f"/element/{element[self.ELEMENT]}/click", {})
                return
            except RuntimeError:
                if time.monotonic() > end:
                    raise

    def keys(self, text):
        keys = [step for key in text for step in ({"type": "keyDown", "value": key}, {"type": "keyUp", "value": key})]
        self.send("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def size(self, width, height):
        self.send("POST", "/window/rect", {"width": width, "height": height})

    def dark(self, is_dark):
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.send("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})

    def picture(self, name):
        folder = os.environ.get("SOFTPM_PICTURES")
        if folder:
            with open(os.path.join(folder, name + ".png"), "wb") as f:
                f.write(base64.b64decode(self.send("GET", "/screenshot")))

    def complaints(self):
        return [entry["message"] for entry in self.send("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def stop(self):
        self.send("DELETE", "")
        self.driver.terminate()
        self.driver.wait(WAIT_SECONDS)


ARROW_UP, ARROW_DOWN, ARROW_LEFT, ARROW_RIGHT = "\ue013", "\ue015", "\ue012", "\ue014"
ENTER, HOME, END, TAB = "\ue007", "\ue011", "\ue010", "\ue004"


def text_of(selector):
    return f"(document.querySelector({json.dumps(selector)}) || {{}}).innerText || ''"


def versions_are_there(browser, newest):
    browser.wait(f"({text_of('#about h2')}).includes('main:{newest}')", "the newest version is not shown")
    browser.wait("document.querySelectorAll('#list .row').length > 5", "the list has no rows")
    need(browser.run("return document.querySelectorAll('#list .row').length") < 100, "the list draws more rows than can be seen")
    need("<b>sale</b>" in browser.run(f"return {text_of('#list')}"), "a message with markup is not shown as text")
    need(not browser.run("return document.querySelector('#list b, #list i, #detail img')"), "markup from memory became markup")


def keyboard(browser, newest):
    browser.run("document.getElementById('list').focus()")
    browser.keys(ARROW_DOWN)
    browser.wait(f"({text_of('#about h2')}).includes('main:{newest - 1}')", "arrow down does not go to the next version")
    browser.keys(HOME)
    browser.wait(f"({text_of('#about h2')}).includes('main:{newest}')", "home does not go to the newest version")
    browser.keys(ENTER)
    browser.wait("document.activeElement.id === 'tab-objects'", "enter does not go to the objects")
    browser.keys(ARROW_RIGHT)
    browser.wait("document.activeElement.id === 'tab-diff' && !document.getElementById('diff').hidden", "arrow right does not go to the next tab")


def go(browser, path):
    browser.run("document.querySelector('#objects input').value = arguments[0]; document.querySelector('#objects form').requestSubmit()", path)


def objects(browser):
    browser.click("#tab-objects")
    browser.click("#tree button.fold[data-path='root->users']")
    browser.wait("document.querySelectorAll('#tree li li').length > 50", "the list of users")
    browser.click("#tree li li:nth-child(50) button.fold")
    browser.wait(f"({text_of('#tree li li:nth-child(50)')}).includes('<img src=x')", "a name with markup is not shown as text")
    go(browser, "root->users[3].age")
    browser.wait(f"({text_of('#tree')}).includes('age int = ')", "a path that was asked for")
    go(browser, "root->number")
    browser.wait(f"({text_of('#tree')}).includes('18364758544493064721')", "a large number, exactly")
    go(browser, "root->nothing")
    browser.wait(f"({text_of('#error')}).includes('nothing')", "what is wrong with a path")
    go(browser, "root")
    browser.wait("document.querySelector('#error').hidden", "the root again")


def tree_keys(browser):
    """The tree of objects without a mouse: one stop for Tab, arrows inside."""
    label = "(document.activeElement.getAttribute('role') === 'treeitem' ? document.activeElement.querySelector('.name').innerText : '')"
    tabbable = "document.querySelectorAll('#tree [tabindex=\"0\"], #tree button:not([tabindex])').length"

    browser.run("document.getElementById('search').form.querySelector('button').focus()")
    browser.keys(TAB)
    first = browser.wait(label, "Tab does not go to the tree")
    need(browser.run(f"return {tabbable}") == 1, "the tree is more than one stop for Tab")
    need(browser.run("return getComputedStyle(document.activeElement.querySelector('.label')).outlineStyle") == "solid", "the focus is not to be seen")
    browser.keys(END)
    last = browser.wait(f"{label} !== arguments[0] && {label}".replace("arguments[0]", json.dumps(first)), "End does not go to the last item")
    browser.keys(HOME)
    browser.wait(f"{label} === {json.dumps(first)}", "Home does not go to the first item")
    browser.keys(ARROW_DOWN)
    second = browser.wait(f"{label} !== {json.dumps(first)} && {label}", "arrow down does not go to the next item")
    browser.keys(ARROW_UP)
    browser.wait(f"{label} === {json.dumps(first)}", "arrow up does not go back")
    need(second != last, "there are only two items")
    browser.run("const i = document.querySelector('#tree .fold[data-path=\\'root->users\\']').closest('li'); i.click()")
    expanded = "document.activeElement.getAttribute('aria-expanded')"
    users = browser.wait(label, "a click does not go to the item")
    if browser.run(f"return {expanded}") == "true":
        browser.keys(ARROW_LEFT)
    browser.wait(f"{expanded} === 'false'", "arrow left does not close")
    browser.keys(ARROW_RIGHT)
    browser.wait(f"{expanded} === 'true'", "arrow right does not open")
    browser.keys(ARROW_RIGHT)
    browser.wait(f"{label}.includes('[0]')", "arrow right does not go inside")
    need(browser.run("return !document.activeElement.closest('ul[hidden]')"), "what is closed has the focus")
    browser.keys(ENTER)
    browser.wait(f"{expanded} === 'true'", "Enter does not open")
    browser.picture("tree-by-keyboard")
    browser.keys(ARROW_LEFT + ARROW_LEFT)
    browser.wait(f"{label} === {json.dumps(users)}", "arrow left does not go to the parent")
    browser.keys(END)
    browser.wait(f"{label} !== {json.dumps(users)}", "End from within")
    need(browser.run(f"return {tabbable}") == 1, "the tree is more than one stop for Tab afterwards")


def search(browser):
    browser.run("document.getElementById('search').value = 'user 139'; document.getElementById('search').form.requestSubmit()")
    browser.wait(f"({text_of('#found')}).includes('root->users[60].name')", "where a text stands")
    browser.run("document.getElementById('search').value = 'no such text'; document.getElementById('search').form.requestSubmit()")
    browser.wait(f"({text_of('#found')}).includes('0 places')", "a text that stands nowhere")


def differences(browser):
    browser.click("#tab-diff")
    browser.wait(f"({text_of('#diff table')}).includes('root->sales')", "what changed, by path")
    browser.click("#diff button.path")
    browser.wait("!document.getElementById('objects').hidden && document.querySelector('#objects input').value !== 'root'", "the place that changed")
    go(browser, "root")
    browser.click("#tab-lint")
    browser.wait(f"({text_of('#lint')}).includes('root->log')", "what takes most room")


def heap(browser):
    browser.click("#tab-heap")
    browser.wait("document.querySelector('#heap canvas') && document.querySelector('#heap canvas').height > 10", "no map of the heap")
    need("objects" in browser.run(f"return {text_of('#heap')}"), "the heap in words")
    for mode in "age", "fill", "subtree", "size":
        browser.run("const s = document.querySelector('#heap select'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))", mode)
        expected = {"age": "this version", "fill": "%", "subtree": "root->users", "size": "64 B"}[mode]
        browser.wait(f"({text_of('#heap .legend')}).includes('{expected}')", f"no legend of the heap by {mode}")


def charts(browser):
    browser.click("#tab-charts")
    browser.wait("document.querySelectorAll('#charts polyline').length === 4", "four charts")


def live(browser, shop, newest):
    shop.stdin.write("one more\n")
    shop.stdin.flush()
    browser.run("document.getElementById('list').scrollTop = 0")
    browser.wait(f"({text_of('#list .row')}).includes('main:{newest + 1}')", "a new version does not come by itself")


def changes(browser, server, newest):
    browser.click("#list .row:nth-child(3)")
    browser.run("document.querySelector('#change input').value = 'kept'")
    browser.click("#change button")
    browser.wait("[...document.querySelectorAll('.badge.tag')].some((badge) => badge.innerText === 'kept')", "the tag is not shown")
    _, _, body = server.ask("api/tags?container=7")
    need(any(tag["name"] == "kept" for tag in json.loads(body)), "the tag was not given")
    need(newest, "versions")


def pictures(browser):
    for name, width in ("wide", 1280), ("narrow", 400):
        browser.size(width, 900)
        for scheme in False, True:
            browser.dark(scheme)
            for tab in "objects", "diff", "lint", "heap", "charts":
                browser.click(f"#tab-{tab}")
                browser.wait(f"document.getElementById('{tab}').childElementCount > 0 && !document.getElementById('{tab}').hasAttribute('aria-busy')", tab)
                browser.picture(f"{name}-{'dark' if scheme else 'light'}-{tab}")
            need(browser.run("return document.documentElement.scrollWidth <= innerWidth"), f"{name}: the page is wider than the window")


def many_versions(browser, shop_program, folder):
    """10,000 versions: what is drawn stays small, and the end can be reached."""
    volume = os.path.join(folder, "many.vol")
    subprocess.run([shop_program, "10000"], env={**os.environ, "SOFTPM_VOLUME": volume, "SHOP_IS_SMALL": "1"}, check=True, stdout=subprocess.DEVNULL)
    server = Server(volume)
    browser.send("POST", "/url", {"url": server.address})
    browser.wait("document.querySelectorAll('#list .row').length > 5", "the list of many versions has no rows")
    browser.wait("(document.getElementById('list').scrollTop = 1e9, document.getElementById('count').innerText === '10003')", "the end of 10,000 versions")
    need(browser.run("return document.querySelectorAll('#list .row').length") < 100, "the list draws more rows than can be seen")
    server.stop()


def page(server, shop, newest, shop_program, folder):
    browser = Browser(os.path.join(folder, "profile"))
    try:
        browser.size(1280, 900)
        browser.send("POST", "/url", {"url": server.address})
        versions_are_there(browser, newest)
        keyboard(browser, newest)
        objects(browser)
        tree_keys(browser)
        search(browser)
        differences(browser)
        heap(browser)
        charts(browser)
        pictures(browser)
        browser.size(1280, 900)
        live(browser, shop, newest)
        changes(browser, server, newest)
        many_versions(browser, shop_program, folder)
        complaints = [text for text in browser.complaints() if "nothing" not in text]
        need(not complaints, f"the browser complains: {complaints}")
    finally:
        browser.stop()


def main(folder):
    shop_program, volume = os.path.join(folder, "shop"), os.path.join(folder, "shop.vol")
    shop = start([shop_program, "60", "wait"], env={**os.environ, "SOFTPM_VOLUME": volume}, stdin=subprocess.PIPE)
    need(shop.stdout.readline() == "ready\n", "the program that makes versions")
    reader, writer = Server(volume), Server(volume, "--write")
    refusals(reader)
    reader.stop()
    newest = json.loads(writer.ask("api/log?container=7&limit=1")[2])[0]["version"]
    if shutil.which("chromium") and shutil.which("chromedriver"):
        page(writer, shop, newest, shop_program, folder)
    else:
        print("web: the page itself was not looked at: chromium and chromedriver (Debian's chromium-driver) are not here")
    writer.stop()
    shop.stdin.close()
    need(shop.wait(WAIT_SECONDS) == 0, "the program's exit status")


if __name__ == "__main__":
    main(sys.argv[1])
