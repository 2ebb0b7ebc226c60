import os
import pwd
from pathlib import Path

import pytest
from pylonyard.config import converters

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
        (converters.port, "1", 1),
        (converters.port, "65535", 65535),
        (converters.whole(0, 9), "007", 7),
        (converters.one_of("proxy", "mod_wsgi"), "mod_wsgi", "mod_wsgi"),
        (converters.optional(converters.port), "", None),
        (converters.optional(converters.port), "80", 80),
        (converters.listed(converters.host), " a.org \n b.org", ("a.org", "b.org")),
        (converters.listed(converters.host), "", ()),
        (converters.lines(converters.text), "\n a b\n\n c \n", ("a b", "c")),
        (converters.lines(converters.text), "a\u2028b\nc\x85d", ("a\u2028b", "c\x85d")),
        (converters.pairs(converters.text), "A = 1\n\nB=x=y", (("A", "1"), ("B", "x=y"))),
        (converters.pairs(converters.text), "A =", (("A", ""),)),
        (converters.text, "any thing; ü", "any thing; ü"),
        (converters.text, "", ""),
        (converters.boolean, "true", True),
        (converters.boolean, "False", False),
        (converters.path, "/srv/shop", Path("/srv/shop")),
        (converters.path, "~/shop", Path.home() / "shop"),
        (converters.path, "a b", Path("a b")),
        (converters.url_path, "/", "/"),
        (converters.url_path, "/health", "/health"),
        (converters.url_path, "/a/%20b;c=1", "/a/%20b;c=1"),
        (converters.host, "localhost", "localhost"),
        (converters.host, "www.example.org", "www.example.org"),
        (converters.host, "www.example.org.", "www.example.org."),
        (converters.host, "xn--bcher-kva.example", "xn--bcher-kva.example"),
        (converters.host, "127.0.0.1", "127.0.0.1"),
        (converters.host, "255.249.199.0", "255.249.199.0"),
        (converters.host, "[::1]", "[::1]"),
        (converters.host, "::1", "[::1]"),
        (converters.host, "a" * 63 + ".org", "a" * 63 + ".org"),
        (converters.listen_host, "*", "*"),
        (converters.listen_host, "10.0.0.1", "10.0.0.1"),
        (converters.server_alias, "*.example.org", "*.example.org"),
        (converters.server_alias, "www?.example.org", "www?.example.org"),
        (converters.host_port, "127.0.0.1:80", ("127.0.0.1", 80)),
        (converters.host_port, "[::1]:8080", ("[::1]", 8080)),
        (converters.section_name, "blog-ini.2", "blog-ini.2"),
        (converters.site_name, "shop", "shop"),
        (converters.site_name, "my-shop_2", "my-shop_2"),
        (converters.account, ROOT, ROOT),
        (converters.octal_mode, "022", 0o022),
        (converters.octal_mode, "0750", 0o750),
        (converters.email, "ops@example.org", "ops@example.org"),
        (converters.email, "o+b@x", "o+b@x"),
    ],
)
def test_text_becomes_a_value(convert, text, value):
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text", "expected"),
    [
        *(
            (converters.port, text, PORT)
            for text in ("", "0", "-1", "65536", "80a", "8 0", "\u0663", "1e3")
        ),
        (converters.port, "9" * 5000, PORT),
        (converters.whole(1, 9), "10", "a whole number from 1 to 9"),
        (converters.whole(1, 9, "of seconds"), "0", "a whole number of seconds from 1 to 9"),
        (converters.one_of("proxy", "mod_wsgi"), "proxy\n", "proxy or mod_wsgi"),
        (converters.one_of("cron.d"), "cronxd", "cron.d"),
        (converters.matching("[a-z]+", "letters"), "a\n", "letters"),
        (converters.listed(converters.host), "a.org b_c", HOST),
        *((converters.text, text, LINE) for text in ("a\nb", "a\0", "\x1b[2J", "a\tb", "a\x7f")),
        *((converters.boolean, text, "true or false") for text in ("", "yes", "1", "true ")),
        (converters.path, "", "a path without control characters"),
        (converters.path, "/srv\0", "a path without control characters"),
        (converters.path, "~nosuchaccount/x", "a path whose account exists"),
        *(
            (converters.url_path, text, URL_PATH)
            for text in ("", "health", "/a b", "/é", "/<x>", "/a\n")
        ),
        *(
            (converters.host, text, HOST)
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
        (converters.server_alias, "*.exa_mple", HOST),
        (converters.host_port, "localhost", "host:port"),
        (converters.section_name, "a b", "a section name"),
        *(
            (converters.site_name, text, SITE)
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
            (converters.account, text, "an account name")
            for text in ("Root", "a b", "0", "-u", "a" * 33)
        ),
        *((converters.octal_mode, text, MODE) for text in ("", "9", "022x", "0o22", "1777", "22")),
        *(
            (converters.email, text, EMAIL)
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
        (converters.host_port, "::1:80", f"expected {HOST}, got '::1'"),
        (converters.host_port, "a.org:0", f"expected {PORT}, got '0'"),
        (converters.server_alias, "*_*", f"expected {HOST}, got '*_*'"),
        (converters.pairs(converters.text), "A", "expected name = value, got 'A'"),
        (converters.pairs(converters.text), "= x", "expected name = value, got '= x'"),
        (converters.pairs(converters.text), "A\0 = x", f"expected {LINE}, got 'A\\x00'"),
    ],
)
def test_refusal_is_about_what_is_wrong(convert, text, message):
    with pytest.raises(ValueError) as caught:
        convert(text)

    assert str(caught.value) == message


def test_no_account_means_who_we_are_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("LOGNAME", "nosuchaccount")

    assert converters.account("") == pwd.getpwuid(os.geteuid()).pw_name
