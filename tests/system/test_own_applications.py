"""docs/your-own-application.rst, typed as it stands there: each of its applications."""

import os
import re
import shutil
from collections.abc import Iterable

import pytest
from checkouts import ROOT, fetch
from readers import Command, File, Reader, steps

pytestmark = pytest.mark.system

PAGE = ROOT / "docs" / "your-own-application.rst"
APPLICATIONS = {
    "A plain WSGI function": "hello",
    "Flask": "hello",
    "Django": "mysite",
    "Pyramid": "starter",
}
IN_APACHE = "In Apache, with mod_wsgi"


class Owner(Reader):
    """A reader with an application; root has another account run it, since Apache has to."""

    def write(self, file: File) -> None:
        if os.geteuid() == 0 and file.path == "buildout.cfg":
            text = file.text.replace("[site]\n", "[site]\nuser = nobody\n")
            file = File(file.path, text)
        super().write(file)

    def does(self, wanted: Iterable[File | Command]) -> dict[str, str]:
        """Do what a page says; return what each command printed."""
        printed = {}
        for step in wanted:
            if isinstance(step, File):
                self.write(step)
            else:
                printed[step.line] = self.type(step.line)
                assert self.status == 0, printed[step.line]
                self.expect(step, printed[step.line])
        return printed

    def expect(self, command: Command, printed: str) -> None:
        """Compare output that is shown; what else a command says is of no account here."""
        if command.output:
            assert printed == self.translated(command.output)


@pytest.fixture
def owner(request, free_port):
    """Give a reader with a checkout that the account of the site can read."""
    made = request.getfixturevalue("checkout" if os.geteuid() else "public_checkout")
    reader = Owner(made(PATH="/usr/sbin:/usr/bin:/sbin:/bin"), free_port)
    reader.ports["8880"] = str(free_port())
    reader.site.controls |= {
        f"{name}{kind}" for name in APPLICATIONS.values() for kind in ("", "-httpd")
    }
    return reader


def test_the_page_has_each_application_and_no_other():
    titles = re.findall(r"(?m)^(.+)\n-+$", PAGE.read_text())

    assert titles == [*APPLICATIONS, IN_APACHE, "What next"]


@pytest.mark.parametrize("title", APPLICATIONS)
def test_an_application_is_served_as_the_page_shows_it(title, owner):
    if not (shutil.which("apxs") or shutil.which("apxs2")):
        pytest.skip("lacks apxs")
    name = APPLICATIONS[title]

    printed = owner.does(steps(PAGE, title))

    assert [line for line in printed if line.startswith("bin/")] == [
        f"bin/{name} start",
        f"bin/{name} stop",
    ]
    shown = printed["curl http://127.0.0.1:8080/"]
    options = f"site:mode=mod_wsgi vhost:httpd-port={owner.ports['8880']}"
    if title == "Django":  # whose static files and errors are another thing without debug mode
        options += " site:environment=staging ini:debug=false"
    in_apache = [
        Command(step.line.replace("hello", name).replace("site:mode=mod_wsgi", options))
        for step in steps(PAGE, IN_APACHE)
        if isinstance(step, Command)
    ]
    printed = owner.does(in_apache)
    assert printed["curl http://127.0.0.1:8880/"] == shown
    if title == "Django":
        expect_django_s_own_pages(owner)


def expect_django_s_own_pages(owner: Owner) -> None:
    """Visit the admin site, its style sheet, and a page that debug mode would explain."""
    owner.type("bin/mysite-httpd start")
    site = f"http://127.0.0.1:{owner.ports['8880']}"
    status, page = fetch(f"{site}/admin/login/")
    assert status == 200
    (sheet,) = re.findall(r'href="(/static/admin/css/base[^"]*\.css)"', page)
    assert fetch(site + sheet)[0] == 200
    status, page = fetch(f"{site}/nowhere")
    assert (status, "DEBUG" in page) == (404, False)
