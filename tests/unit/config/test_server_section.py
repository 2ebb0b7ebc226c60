import pytest
from pylonyard.config.ini import Ini
from pylonyard.config.server_section import (
    ServerOptions,
    add_filter,
    changed,
    chunked_bodies,
    is_loopback,
    told,
    write_section,
)

OURS = {
    "use": "egg:waitress#main",
    "host": "127.0.0.1",
    "port": "8080",
    "threads": "4",
    "trusted_proxy": "127.0.0.1",
    "trusted_proxy_headers": "x-forwarded-for x-forwarded-proto",
}


def written(author="", use="", threads=None, host="127.0.0.1"):
    """Return the section that ``author`` wrote, after ours is laid over, and what is told."""
    config = Ini(f"[server:main]\n{author}\n[app:main]\n")
    options = ServerOptions(use=use, threads=threads, host=host, port=8080)
    done = write_section(config, options)
    section = {s.key: s.value for s in config.settings() if s.section == "server:main"}
    return section, list(told(done, "template shop.ini", has_author=True))


def line(*what):
    sets = "[ini] sets it: server, host, port, threads"
    return [f"[server:main] of template shop.ini: {', '.join(what)}; {sets}"]


def test_defaults_are_ours_where_nobody_said_anything():
    assert written() == (OURS, [])


def test_options_of_the_author_count_more_than_our_defaults():
    section, said = written(
        "use = egg:waitress#main\nlisten = *:6543\nthreads = 9\n"
        "max_request_body_size = 1000\ntrusted_proxy = 10.0.0.1\nport = 6543"
    )

    assert section == {
        "use": "egg:waitress#main",
        "host": "127.0.0.1",
        "port": "8080",
        "threads": "9",
        "max_request_body_size": "1000",
        "trusted_proxy": "10.0.0.1",
    }
    assert said == line("port = 8080 (was 6543)", "listen is left out")


def test_options_of_the_user_count_more_than_those_of_the_author():
    section, said = written("use = egg:waitress\nthreads = 9", "egg:waitress#main", 3)

    assert section == {**OURS, "threads": "3"}
    assert said == line("use = egg:waitress#main (was egg:waitress)", "threads = 3 (was 9)")


def test_another_server_of_the_user_does_not_get_the_options_of_the_authors():
    section, said = written("use = egg:gunicorn\nworkers = 5", "egg:waitress#main")

    assert section == OURS
    assert said == line("use = egg:waitress#main (was egg:gunicorn)", "workers is left out")


def test_server_of_the_author_stays_with_its_options():
    section, said = written("use = egg:gunicorn\nworkers = 5\nbind = :80")

    assert (section["use"], section["workers"], "bind" in section) == ("egg:gunicorn", "5", False)
    assert said == line("bind is left out")


def test_server_that_nothing_runs_need_not_be_installed():
    config = Ini("[server:main]\nuse = egg:gunicorn\nworkers = 5\n")
    options = {"threads": None, "host": "127.0.0.1", "port": 8080, "is_proxied": False}

    assert write_section(config, ServerOptions(use="", **options)).use == "egg:waitress#main"
    assert config.get("server:main", "workers") is None


def test_server_that_the_author_names_by_its_function_stays():
    section, _ = written("paste.server_runner = shop:run\ncertificate = x")

    assert section == {
        "paste.server_runner": "shop:run",
        "certificate": "x",
        "host": "127.0.0.1",
        "port": "8080",
    }
    assert (
        written("paste.server_runner = shop:run\ncertificate = x", "egg:waitress#main")[0] == OURS
    )


@pytest.mark.parametrize(
    ("host", "trusted"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "::1")]
)
def test_waitress_believes_the_web_server_of_this_machine(host, trusted):
    section, _ = written(host=host)

    assert (section["host"], section["trusted_proxy"]) == (host, trusted)


def test_paste_takes_more_pending_connections_than_five():
    section, _ = written("use = egg:Paste#http\nthreadpool_workers = 3")

    assert section == {
        "use": "egg:Paste#http",
        "host": "127.0.0.1",
        "port": "8080",
        "threadpool_workers": "3",
        "use_threadpool": "true",
        "threadpool_spawn_if_under": "2",
        "request_queue_size": "1024",
    }


def changes(before, author):
    now = Ini(f"[server:main]\n{author}\n")
    options = ServerOptions(use="", threads=None, host="127.0.0.1", port=8080)
    done = write_section(now, options)
    return list(changed(Ini(f"[server:main]\n{before}\n"), now, done, "shop"))


RAN = "use = egg:waitress#main\nhost = 127.0.0.1\nport = 8080\nthreads = 4\n"


def test_run_that_changes_the_server_of_a_site_says_how_to_keep_it():
    assert changes(RAN, "use = egg:Paste#http\nport = 1") == [
        "shop: the next release runs egg:Paste#http, as its template says, in place of "
        "egg:waitress#main; to keep that: [ini] server = egg:waitress#main"
    ]
    assert changes(RAN, "use = egg:waitress#main\nthreads = 9\nident = x") == [
        "shop: its server gets threads = 9, ident = x, as its template says; [ini] settings "
        "override it, in [server:main]: threads = 4"
    ]


@pytest.mark.parametrize("before", ["", RAN])
def test_run_that_changes_nothing_says_nothing(before):
    assert changes(before, "") == []
    assert changes(before + "x = 1", "") == []


def test_server_learns_what_the_web_server_was_told():
    config = Ini("[app:main]\n")
    agreed = {"timeout": 50, "max_body": 1000, "prefix": "/wiki"}
    write_section(
        config, ServerOptions(use="", threads=None, host="127.0.0.1", port=8080, **agreed)
    )

    section = {s.key: s.value for s in config.settings() if s.section == "server:main"}
    more = {"url_prefix": "/wiki", "max_request_body_size": "1001", "channel_timeout": "50"}
    assert section == OURS | more
    assert chunked_bodies(config) == "pass"


@pytest.mark.parametrize("server", ["use = egg:Paste#http", "use = egg:waitress#main"])
def test_web_server_passes_no_endless_body_to_a_server_without_a_limit(server):
    assert chunked_bodies(Ini(f"[server:main]\n{server}\n")) == "refuse"


def test_gunicorn_waits_as_long_as_the_web_server():
    section, _ = written("use = egg:gunicorn", host="::1")

    assert (section["timeout"], section["host"]) == ("60", "[::1]")
    assert written("use = egg:gunicorn\ntimeout = 9")[0]["timeout"] == "9"


def test_filter_of_the_web_server_leaves_the_application_as_it_is():
    text = "[pipeline:main]\npipeline = app\nfilter-with = own\n[filter:own]\nuse = egg:X\n"
    config = Ini(text)

    add_filter(config, "pipeline:main", "served", "/wiki")

    assert str(config).startswith(text)
    found = {s.key: s.value for s in config.settings() if s.section == "filter-app:served"}
    assert found == {"use": "egg:PasteDeploy#prefix", "next": "main", "prefix": "/wiki"}


def test_addresses_of_this_machine_alone_are_known():
    hosts = ("127.0.0.1", "127.0.0.2", "localhost", "::1", "0.0.0.0", "::", "10.0.0.1")

    assert [is_loopback(host) for host in hosts] == [True] * 4 + [False] * 3
