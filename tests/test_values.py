import os
import pwd
from pathlib import Path

import pytest
from pylonyard import values

PORT = "a whole number (a TCP port) from 1 to 65535"
HOST = "a host name or address"
LINE = "one line without control characters"
SITE = (
    "a name of at most 30 small letters, digits, - and _, starting with a letter"
    " (not bin, buildout, etc, pylonyard, test)"
)
URL_PATH = "a URL path that starts with /"
EMAIL = "an e-mail address"
MODE = "a mode of three octal digits"
ROOT = pwd.getpwuid(0).pw_name


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (values.port, "1", 1),
        (values.port, "65535", 65535),
        (values.whole(0, 9), "007", 7),
        (values.one_of("proxy", "mod_wsgi"), "mod_wsgi", "mod_wsgi"),
        (values.optional(values.port), "", None),
        (values.optional(values.port), "80", 80),
        (values.listed(values.host), " a.org \n b.org", ("a.org", "b.org")),
        (values.listed(values.host), "", ()),
        (values.lines(values.text), "\n a b\n\n c \n", ("a b", "c")),
        (values.lines(values.text), "a\u2028b\nc\x85d", ("a\u2028b", "c\x85d")),
        (values.pairs(values.text), "A = 1\n\nB=x=y", (("A", "1"), ("B", "x=y"))),
        (values.pairs(values.text), "A =", (("A", ""),)),
        (values.text, "any thing; ü", "any thing; ü"),
        (values.text, "", ""),
        (values.boolean, "true", True),
        (values.boolean, "False", False),
        (values.path, "/srv/shop", Path("/srv/shop")),
        (values.path, "~/shop", Path.home() / "shop"),
        (values.path, "a b", Path("a b")),
        (values.url_path, "/", "/"),
        (values.url_path, "/health", "/health"),
        (values.url_path, "/a/%20b;c=1", "/a/%20b;c=1"),
        (values.host, "localhost", "localhost"),
        (values.host, "www.example.org", "www.example.org"),
        (values.host, "www.example.org.", "www.example.org."),
        (values.host, "xn--bcher-kva.example", "xn--bcher-kva.example"),
        (values.host, "127.0.0.1", "127.0.0.1"),
        (values.host, "255.249.199.0", "255.249.199.0"),
        (values.host, "[::1]", "[::1]"),
        (values.host, "::1", "[::1]"),
        (values.host, "a" * 63 + ".org", "a" * 63 + ".org"),
        (values.listen_host, "*", "*"),
        (values.listen_host, "10.0.0.1", "10.0.0.1"),
        (values.server_alias, "*.example.org", "*.example.org"),
        (values.server_alias, "www?.example.org", "www?.example.org"),
        (values.host_port, "127.0.0.1:80", ("127.0.0.1", 80)),
        (values.host_port, "[::1]:8080", ("[::1]", 8080)),
        (values.section_name, "blog-ini.2", "blog-ini.2"),
        (values.site_name, "shop", "shop"),
        (values.site_name, "my-shop_2", "my-shop_2"),
        (values.account, ROOT, ROOT),
        (values.octal_mode, "022", 0o022),
        (values.octal_mode, "0750", 0o750),
        (values.email, "ops@example.org", "ops@example.org"),
        (values.email, "o+b@x", "o+b@x"),
    ],
)
def test_text_becomes_a_value(convert, text, value):
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text", "expected"),
    [
        *(
            (values.port, text, PORT)
            for text in ("", "0", "-1", "65536", "80a", "8 0", "\u0663", "1e3")
        ),
        (values.port, "9" * 5000, PORT),
        (values.whole(1, 9), "10", "a whole number from 1 to 9"),
        (values.whole(1, 9, "of seconds"), "0", "a whole number of seconds from 1 to 9"),
        (values.one_of("proxy", "mod_wsgi"), "proxy\n", "proxy or mod_wsgi"),
        (values.one_of("cron.d"), "cronxd", "cron.d"),
        (values.matching("[a-z]+", "letters"), "a\n", "letters"),
        (values.listed(values.host), "a.org b_c", HOST),
        *((values.text, text, LINE) for text in ("a\nb", "a\0", "\x1b[2J", "a\tb", "a\x7f")),
        *((values.boolean, text, "true or false") for text in ("", "yes", "1", "true ")),
        (values.path, "", "a path without control characters"),
        (values.path, "/srv\0", "a path without control characters"),
        (values.path, "~nosuchaccount/x", "a path whose account exists"),
        *(
            (values.url_path, text, URL_PATH)
            for text in ("", "health", "/a b", "/é", "/<x>", "/a\n")
        ),
        *(
            (values.host, text, HOST)
            for text in (
                "",
                "a_b",
                "-a.org",
                "a-.org",
                "a..org",
                ".org",
                "a b",
                "a\n",
                "256.0.0.1",
                "1.2.3",
                "1.2.3.4.5",
                "010.0.0.1",
                "\u0661.1.1.1",
                "::g",
                "[::1",
                "[::g]",
                "[fe80::1%eth0]",
                "*",
                "a" * 64 + ".org",
                "a." * 127 + "org",
                "a.org:80",
                "${x}",
            )
        ),
        (values.server_alias, "*.exa_mple", HOST),
        (values.host_port, "localhost", "host:port"),
        (values.section_name, "a b", "a section name"),
        *(
            (values.site_name, text, SITE)
            for text in (
                "",
                "Shop",
                "2shop",
                "a.b",
                "a/b",
                "../x",
                "a" * 31,
                "shop\n",
                "ü",
                "bin",
                "etc",
                "test",
                "buildout",
                "pylonyard",
            )
        ),
        *(
            (values.account, text, "an account name")
            for text in ("Root", "a b", "0", "-u", "a" * 33)
        ),
        *((values.octal_mode, text, MODE) for text in ("", "9", "022x", "0o22", "1777", "22")),
        *(
            (values.email, text, EMAIL)
            for text in (
                "",
                "ops",
                "a b@x",
                "a@b@c",
                "<a@b>",
                "a@",
                "@b",
                "a,b@c",
                "a@b\n",
                "a\x7f@b",
            )
        ),
    ],
)
def test_other_text_is_refused_with_what_was_expected(convert, text, expected):
    with pytest.raises(ValueError) as caught:
        convert(text)

    assert str(caught.value).endswith(f"expected {expected}, got {_last(text, str(caught.value))}")


def _last(text, message):
    """Return the part of ``text`` that a message about a list is about."""
    words = [word for word in text.split() if message.endswith(repr(word))]
    return repr(text) if message.endswith(repr(text)) else repr(words[-1])


@pytest.mark.parametrize(
    ("convert", "text", "message"),
    [
        (values.host_port, "::1:80", f"expected {HOST}, got '::1'"),
        (values.host_port, "a.org:0", f"expected {PORT}, got '0'"),
        (values.server_alias, "*_*", f"expected {HOST}, got '*_*'"),
        (values.pairs(values.text), "A", "expected name = value, got 'A'"),
        (values.pairs(values.text), "= x", "expected name = value, got '= x'"),
        (values.pairs(values.text), "A\0 = x", f"expected {LINE}, got 'A\\x00'"),
    ],
)
def test_refusal_is_about_what_is_wrong(convert, text, message):
    with pytest.raises(ValueError) as caught:
        convert(text)

    assert str(caught.value) == message


def test_no_account_means_who_we_are_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("LOGNAME", "nosuchaccount")

    assert values.account("") == pwd.getpwuid(os.geteuid()).pw_name
