"""A browser that keeps cookies, and fills in the forms of a real site."""

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser


class _Fields(HTMLParser):
    """Collect the values that a browser would send of a form with nothing filled in."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "input" and given.get("name") and given.get("type") == "hidden":
            self.values[given["name"]] = given.get("value", "")
        elif tag == "select":
            self._select = given.get("name", "")
        elif tag == "option" and ("selected" in given or self._select not in self.values):
            self.values[self._select] = given.get("value", "")


class Browser:
    """Keep cookies from one request to the next, and follow redirects."""

    def __init__(self, address: str, host: str = "") -> None:
        self.address = address.rstrip("/")
        self.headers = {"Host": host} if host else {}
        cookies = http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies)).open

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the page."""
        return self._request(path, None)

    def submit(self, path: str, *, action: str = "", **form: str) -> tuple[int, str]:
        """Fill in the form that ``path`` shows, hidden fields kept, and send it.

        :param action: where to, a pattern that the page has; by default, to ``path``
        """
        fields, page = _Fields(), self.get(path)[1]
        fields.feed(page)
        found = re.search(action, page) if action else None
        return self.post(found[0] if found else path, **{**fields.values, **form})

    def post(self, path: str, **form: str) -> tuple[int, str]:
        return self._request(path, urllib.parse.urlencode(form).encode())

    def _request(self, path: str, data: bytes | None) -> tuple[int, str]:
        request = urllib.request.Request(self.address + path, data, self.headers)
        try:
            with self._open(request, timeout=60) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")
