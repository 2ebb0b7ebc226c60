"""The chapter's last figure: a browser at Apache with mod_wsgi, signs in and adds a page."""

import os
import shutil
from pathlib import Path

import pytest
from interpreters_for_all import readable_by_all
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

pytestmark = pytest.mark.system

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,800",
]


@pytest.fixture
def browser(tmp_path):
    """Debian's Chromium, which visits 127.0.0.1 only."""
    programs = {name: shutil.which(name, path="/usr/bin") for name in ("chromium", "chromedriver")}
    for name, found in programs.items():
        if not found:
            pytest.skip(f"lacks {name}")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for word in [*QUIET, f"--user-data-dir={tmp_path}/profile"]:
        options.add_argument(word)
    service = webdriver.ChromeService(programs["chromedriver"])
    driver = webdriver.Chrome(options=options, service=service)
    driver.implicitly_wait(10)
    yield driver
    driver.quit()


def keep_picture(browser, name: str) -> None:
    """Keep what the browser shows where the documentation has it, if asked to."""
    if folder := os.environ.get("PYLONYARD_PICTURES"):
        browser.save_screenshot(str(Path(folder, name)))
    assert len(browser.get_screenshot_as_png()) > 10_000


def fill_in(browser, **fields: str) -> None:
    for name, value in fields.items():
        field = browser.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)


def text_of(browser) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def submit(browser) -> None:
    """Send the form that has the focus of the page: the last of its buttons."""
    old = browser.find_element(By.TAG_NAME, "html")
    buttons = browser.find_elements(By.CSS_SELECTOR, "main [type=submit], #bd [type=submit]")
    buttons[-1].click()
    WebDriverWait(browser, 20).until(lambda _: _is_gone(old))


def _is_gone(element) -> bool:
    try:
        return not element.is_enabled()
    except StaleElementReferenceException:
        return True


def test_the_book_s_simplesite_on_python_2_7(browser, public_checkout, public_folder, free_port):
    python = readable_by_all("python2.7", public_folder)
    site, port = public_checkout(), free_port()
    site.bootstrap(
        "-c",
        "legacy.cfg",
        f"app:python={python}",
        "site:mode=mod_wsgi",
        "site:user=www-data",
        f"vhost:httpd-port={port}",
    )
    site.control("simplesite-httpd", "start")
    home = f"http://127.0.0.1:{port}/"

    browser.get(home)
    tabs = [link.text for link in browser.find_elements(By.CSS_SELECTOR, "#navcontainer a, li a")]
    assert "Contact Us Page" in tabs and "Development Section" in tabs
    keep_picture(browser, "simplesite-home.png")

    browser.get(f"{home}signin")
    fill_in(browser, username="admin", password="opensesame")
    submit(browser)
    assert "sign" in text_of(browser).lower()

    browser.get(f"{home}page/new")
    fill_in(browser, title="Served by Apache", name="Apache", path="apache")
    fill_in(browser, content="With mod_wsgi.")
    submit(browser)
    assert "Served by Apache" in text_of(browser)
    keep_picture(browser, "simplesite-page.png")


def test_the_default_site(browser, public_checkout, free_port):
    site, port = public_checkout(), free_port()
    site.bootstrap("site:mode=mod_wsgi", "site:user=www-data", f"vhost:httpd-port={port}")
    site.control("simplesite-httpd", "start")
    password = (site.path / "var/secrets/simplesite/editor-password").read_text()
    home = f"http://127.0.0.1:{port}/"

    browser.get(home)
    keep_picture(browser, "default-home.png")
    browser.get(f"{home}sign-in")
    fill_in(browser, name="editor", password=password)
    submit(browser)

    browser.get(f"{home}pages/add")
    fill_in(browser, title="Served by Apache", slug="apache", body="With *mod_wsgi*.")
    Select(browser.find_element(By.NAME, "parent_id")).select_by_index(0)
    submit(browser)

    assert "Served by Apache" in text_of(browser)
    assert browser.find_element(By.TAG_NAME, "em").text == "mod_wsgi"
    keep_picture(browser, "default-page.png")
