"""Guests pay in a browser, in the pub as anybody starts it: by mouse, by keyboard, in Czech, without a script."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import IO, Any, cast

import pytest
import requests
from playwright.async_api import Browser, Page, async_playwright, expect

from django_qerko.keys import ApiKey
from django_qerko.sandbox.qerko import PointOfSale, Qerko
from django_qerko.sandbox.server import SandboxServer
from example_project.demo.pub import Pub, lay_tables, listening, open_doors
from example_project.demo.stage import Stage
from tests.deliveries import KEY
from tests.servers import ROOT
from tests.workers import until

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "google-chrome", "chromium-browser"])), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK: Any = {"width": 1280, "height": 900}
PHONE: Any = {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.process,
    pytest.mark.once,
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="there is no Chromium here"),
]


@dataclass(frozen=True, kw_only=True)
class Evening:
    """The pub with a bill on each table, Qerko's sandbox, and a browser."""

    pub: Pub
    url: str
    browser: Browser
    runner: asyncio.Runner

    @asynccontextmanager
    async def page(self, viewport: Any = DESK, **how: Any) -> AsyncIterator[Page]:
        """A page, on which nothing may go wrong in the script."""
        wrong: list[str] = []
        context = await self.browser.new_context(viewport=viewport, **{"locale": "en-GB"} | how)
        context.set_default_timeout(20_000)
        page = await context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text))
        try:
            yield page
        finally:
            await context.close()
        assert not wrong

    def room(self, table: int) -> str:
        """What the pub's own page shows of a table."""
        page = requests.get(f"{self.pub.url}/", timeout=20).text
        return next(section for section in page.split("<section>") if f"<h2>Stůl {table} " in section)

    def is_free(self, table: int) -> bool:
        return "Nobody sits here." in self.room(table)


@pytest.fixture(scope="module")
def evening() -> Iterator[Evening]:
    expect.set_options(timeout=20_000)
    with Stage() as stage, Qerko() as qerko, listening(0) as door:
        stage.environment |= {
            "CELERY_BROKER_URL": f"sqlite:///{stage.folder / 'broker.sqlite3'}",
            "DATABASE_URL": f"sqlite:///{stage.folder / 'pub.sqlite3'}",
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "QERKO_API_KEY": KEY.reveal(),
        }
        stage.command("migrate", "--verbosity=0")
        pub = lay_tables(stage, 4, port=int(door.getsockname()[1]))
        pos = PointOfSale(url=pub.webhook, api_key=ApiKey(KEY.reveal()), name="The pub")
        with SandboxServer(qerko, [pos]) as sandbox, asyncio.Runner() as runner:
            stage.environment |= {"QERKO_BASE_URL": sandbox.api_url}
            open_doors(stage, door)
            # Not Playwright's other face, which is made of greenlets: coverage loses sight of what runs in them.
            playwright = runner.run(async_playwright().start())
            browser = runner.run(playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET))
            yield Evening(pub=pub, url=sandbox.url, browser=browser, runner=runner)
            runner.run(browser.close())
            runner.run(playwright.stop())


def played(scene: Callable[[Evening], Coroutine[Any, Any, None]]) -> Callable[[Evening], None]:
    """A test that plays a scene in the browser."""

    @wraps(scene)
    def test(evening: Evening) -> None:
        evening.runner.run(scene(evening))

    return test


@played
async def test_a_bill_is_paid_and_the_conversation_is_there_to_read(evening: Evening) -> None:
    async with evening.page() as page:
        await page.goto(evening.url)
        await page.get_by_role("link", name="Stůl 1").click()
        await page.get_by_role("main").get_by_role("link", name=re.compile("CZK")).click()
        due = await page.locator(".due strong").inner_text()
        said = await page.locator("#said summary b").all_inner_texts()
        assert said[:3] == ["getBill", "getTableContents", "getTableList"]
        await page.locator("#said summary").last.click()
        await page.get_by_role("radio", name="10 %").check()

        await page.get_by_role("button", name=re.compile(r"^Pay [\d,]+\.\d\d.CZK$")).click()
        await page.get_by_role("button", name="Confirm the payment").click()

        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        await expect(page.get_by_role("article", name="Receipt")).to_contain_text("Hospoda Na Růžku")
        await expect(page.get_by_role("article", name="Receipt")).to_contain_text(due)
        closed = page.locator("#said li").filter(has_text="paymentClosed").first
        await expect(closed).to_contain_text("replied")
        await closed.locator("summary").click()
        await expect(closed.locator("pre").first).to_contain_text("POST …/reply")
        await expect(page.locator("#live")).to_have_text("Live")
        assert await page.evaluate("document.title") == "Paid · Qerko sandbox"
        assert set(await page.locator("#said .mark").all_inner_texts()) == {"✓"}
    until(lambda: evening.is_free(1), seconds=20)


@played
async def test_what_is_open_stays_open_and_what_has_focus_keeps_it(evening: Evening) -> None:
    async with evening.page() as page, evening.page() as another:
        await page.goto(evening.url)
        await page.locator("#said summary").first.focus()
        await page.keyboard.press("Enter")
        await page.locator("#said pre").first.focus()
        text = await page.locator("#said pre").first.inner_text()

        await another.goto(f"{evening.url}1/bills/999/")

        await expect(page.locator("#said summary").first).to_contain_text("BILL_NOT_FOUND")
        await expect(page.locator("#heard")).to_have_text("getBill: 422 BILL_NOT_FOUND")
        assert await page.locator("#said details[open]").count() == 1
        assert await page.evaluate("document.activeElement.innerText") == text
        await expect(another.get_by_role("alert")).to_contain_text("The restaurant does not know this bill.")


@played
async def test_a_part_is_paid_with_the_keyboard_alone(evening: Evening) -> None:
    async with evening.page(PHONE) as page:
        await page.goto(evening.url)
        await page.keyboard.press("Tab")
        assert await focused(page) == "Skip to the guest’s phone"
        await page.keyboard.press("Enter")
        for link in (r"^Stůl 2", "CZK"):
            async with page.expect_navigation():
                await press(page, link, "Enter")

        await press(page, r"^Nothing$", "Space")
        assert await page.locator(".rows .none").count() == await page.locator(".rows li").count()
        name = await page.locator(".rows b").first.inner_text()
        await press(page, rf"^More: {re.escape(name)}$", "Enter")
        await page.keyboard.press("Shift+Tab")
        assert await page.evaluate("document.activeElement.value") == "1"
        price = await page.locator("[data-sum]").inner_text()
        async with page.expect_navigation():
            await press(page, r"^Pay", "Enter")
        await expect(page.get_by_role("button", name="Confirm the payment")).to_be_visible()
        async with page.expect_navigation():
            await press(page, "^Confirm the payment$", "Enter")

        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        await expect(page.locator(".due strong")).to_have_text(price)
        await expect(page.locator("#told")).to_have_text(re.compile(r"^Paid"))
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    until(lambda: "paid</small>" in evening.room(2), seconds=20)
    assert not evening.is_free(2)


@played
async def test_a_guest_pays_half_a_portion_in_czech(evening: Evening) -> None:
    async with evening.page(PHONE, locale="cs-CZ", color_scheme="dark", reduced_motion="reduce") as page:
        await page.goto(evening.url)
        assert await page.locator("html").get_attribute("lang") == "cs"
        await page.get_by_role("link", name="Stůl 3").click()
        await page.get_by_role("main").get_by_role("link", name=re.compile("Kč")).click()
        await page.get_by_role("button", name="Nic", exact=True).click()
        goulash = page.locator(".rows li").filter(has_text="guláš")
        await goulash.get_by_role("button", name=re.compile("^Více")).click()
        await expect(goulash.get_by_role("textbox")).to_have_value("0,5")
        await page.get_by_role("radio", name="Jiné").check()
        await page.get_by_label("Vaše spropitné v Kč").fill("12,50")
        await expect(goulash.locator(".sum")).to_have_text("107,50")
        price = await page.locator("[data-sum]").inner_text()

        await page.get_by_role("button", name="Zaplatit").click()
        await page.get_by_role("button", name="Banka odmítne").click()

        await expect(page.get_by_role("heading", name="Nezaplaceno")).to_be_visible()
        await expect(page.get_by_role("main")).to_contain_text("Vaše banka platbu odmítla. Žádné peníze neodešly.")
        await expect(page.get_by_role("main")).to_contain_text(price)
        await page.get_by_role("button", name="English").click()
        await expect(page.get_by_role("heading", name="Not paid")).to_be_visible()
    assert not evening.is_free(3)


@played
async def test_a_bill_is_paid_without_a_script(evening: Evening) -> None:
    async with evening.page(PHONE, java_script_enabled=False) as page:
        await page.goto(evening.url)
        await page.get_by_role("link", name="Stůl 4").click()
        await page.get_by_role("main").get_by_role("link", name=re.compile("CZK")).click()
        await page.get_by_role("textbox").first.fill("99")
        await page.get_by_role("button", name="Pay").click()
        await expect(page.get_by_role("main")).to_contain_text("The bill has changed since you saw it.")
        await page.get_by_role("link", name="Back to the bill").click()

        await page.get_by_role("button", name="Pay").click()
        await page.get_by_role("button", name="Confirm the payment").click()

        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        await expect(page.get_by_role("article", name="Receipt")).to_be_visible()
    until(lambda: evening.is_free(4), seconds=20)


async def focused(page: Page) -> str:
    """What has focus: the name that it is given, or its text."""
    script = "const e = document.activeElement; return e.getAttribute('aria-label') || e.innerText || ''"
    return str(await page.evaluate(f"(() => {{ {script} }})()")).strip()


async def press(page: Page, name: str, key: str) -> None:
    """Go to what has this name with the tabulator, and press a key on it."""
    seen: list[str] = []
    while not seen or not re.search(name, seen[-1]):
        assert len(seen) < 60, seen
        await page.keyboard.press("Tab")
        seen.append(await focused(page))
    await page.keyboard.press(key)


# -- As the README says it ---------------------------------------------------------------------------


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """The addresses of the pub, and of a guest's phone, that ``make serve`` prints; Ctrl-C closes it."""
    own = {
        "CELERY_BROKER_URL": f"sqlite:///{folder / 'broker.sqlite3'}",
        "DATABASE_URL": f"sqlite:///{folder / 'pub.sqlite3'}",
        "DJANGO_SUPERUSER_PASSWORD": "a good one",
    }
    command = [sys.executable, "-m", "example_project.demo", "--serve", "--port=0", "--sandbox-port=0"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | own, stdout=subprocess.PIPE, text=True) as process:
        stdout = cast("IO[str]", process.stdout)
        said = ""
        while "Ctrl-C closes all of it" not in said:
            said += stdout.readline() or pytest.fail(said)
        try:
            pub, guest = re.findall(r"(?:The pub|A guest) +(http://127\.0\.0\.1:\d+/)$", said, re.MULTILINE)
            yield pub, guest
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 0


def test_what_make_serve_opens_is_paid_and_closes_in_the_pub(evening: Evening, tmp_path: Path) -> None:
    with served(tmp_path) as (pub, guest):
        evening.runner.run(pay_and_look(evening, pub, guest))


async def pay_and_look(evening: Evening, pub: str, guest: str) -> None:
    """One guest with a phone, and the landlord with the pub's own page and its admin."""
    async with evening.page(PHONE) as phone, evening.page() as landlord:
        # Neither the pub nor the admin has an icon, which is nothing that went wrong.
        await landlord.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        await landlord.goto(pub)
        first = landlord.locator("section").filter(has_text="Stůl 1")
        await expect(first).not_to_contain_text("Nobody sits here.")

        await phone.goto(guest)
        await phone.get_by_role("link", name="Stůl 1").click()
        await phone.get_by_role("main").get_by_role("link", name=re.compile("CZK")).click()
        await phone.get_by_role("button", name=re.compile("^Pay ")).click()
        await phone.get_by_role("button", name="Confirm the payment").click()
        await expect(phone.get_by_role("heading", name="Paid")).to_be_visible()
        closed = phone.locator("#said li").filter(has_text="paymentClosed").first
        await expect(closed).to_contain_text("replied")

        await landlord.goto(pub)
        await expect(first).to_contain_text("Nobody sits here.")
        await landlord.goto(f"{pub}admin/django_qerko/payment/")
        await landlord.get_by_label("Username").fill("landlord")
        await landlord.get_by_label("Password").fill("a good one")
        await landlord.get_by_role("button", name="Log in").click()
        await expect(landlord.get_by_role("row").filter(has_text="PAID")).to_have_count(1)
