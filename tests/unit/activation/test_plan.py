import dataclasses
from pathlib import Path

import pytest
from pylonyard.activation import steps as kinds
from pylonyard.activation.host.conffiles import NEW
from pylonyard.activation.host.facts import World
from pylonyard.activation.plan import plan
from pylonyard.activation.steps import Effects, Serve, Share
from pylonyard.releases.contents import Release, Servers, Site, Source
from pylonyard.system import accounts
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import ABSENT, Account, Entry, Permissions, Tree
from pylonyard.webservers.registry import PublicName, ServerState

RELEASE = Path("/srv/shop/releases/3")


def source(name, mode=0o644):
    entry = Entry("file", mode, 0, 0, f"text of {name}".encode())
    return Source(name, entry, RELEASE / name.lstrip("/"))


VHOST = source("/etc/apache2/sites-available/shop.conf")
WSGI = source("/etc/apache2/mods-available/wsgi.load")
INIT = source("/etc/init.d/shop", 0o755)
CRON = source("/etc/cron.d/shop")
FILES = (VHOST, CRON, INIT)


def site(**more):
    values = {
        "name": "shop",
        "user": "shop",
        "data": Path("/srv/shop/var/data/shop"),
        "live": RELEASE / "shop",
        "log": Path("/srv/shop/var/log"),
        "port": 8080,
        "mode": "proxy",
        "server_name": "shop.example.org",
        "modules": ("alias", "proxy"),
        **more,
    }
    return Site(**values)


def world(files=FILES, **more):
    shop = Account("shop", 1000, 1000, "shop", frozenset({1000}))
    apache = Account("www-data", 33, 33, "www-data", frozenset({33}))
    seen = {
        "user": "www-data",
        "is_running": True,
        "available_modules": frozenset({"alias", "proxy"}),
        "enabled_modules": frozenset({"alias"}),
    }
    seen |= {name: more.pop(name) for name in ServerState.__dataclass_fields__ if name in more}
    values = {
        "entries": {n: ABSENT for s in files for n in (s.name, s.name + NEW)},
        "webservers": {"apache": ServerState(**seen)},
        "accounts": {"shop": shop, "www-data": apache},
        **more,
    }
    return World(**values)


def commands(made):
    return [step.command for step in made.steps]


def laid(*files):
    return {
        "laid": {s.name: s.entry.digest for s in files},
        "entries": {n: e for s in files for n, e in ((s.name, s.entry), (s.name + NEW, ABSENT))},
    }


DONE = {
    **laid(*FILES),
    "enabled_modules": frozenset({"alias", "proxy"}),
    "enabled_sites": frozenset({"shop"}),
    "registered": frozenset({"shop"}),
    "running": frozenset({"shop"}),
}


def test_plan_is_what_a_person_would_type():
    made = plan(Release(3, RELEASE, (site(),), FILES), world())

    assert commands(made) == [
        "install -o root -g root -m 0644 "
        "/srv/shop/releases/3/etc/apache2/sites-available/shop.conf "
        "/etc/apache2/sites-available/shop.conf",
        "install -o root -g root -m 0755 /srv/shop/releases/3/etc/init.d/shop /etc/init.d/shop",
        "a2enmod proxy",
        "a2ensite shop",
        "update-rc.d shop defaults",
        "sh -n /etc/init.d/shop",
        "apache2ctl configtest",
        "/etc/init.d/shop start",
        "install -o root -g root -m 0644 /srv/shop/releases/3/etc/cron.d/shop /etc/cron.d/shop",
        "apache2ctl graceful",
        "curl --include --header 'Host: shop.example.org' http://127.0.0.1:80/",
    ]
    assert made.notes == ()


def test_site_with_a_certificate_is_asked_for_by_https_as_well():
    secured = site(ssl_port=8443, ssl_certificate=Path("/etc/ssl/shop.pem"))

    asked = commands(plan(Release(3, RELEASE, (secured,), FILES), world()))[-2:]

    assert asked == [
        "curl --include --header 'Host: shop.example.org' http://127.0.0.1:80/",
        "curl --include --insecure --header 'Host: shop.example.org' https://127.0.0.1:8443/",
    ]


def test_log_rotation_is_checked_where_its_program_is_and_reads_it():
    rotation = source("/etc/logrotate.d/shop")
    release = Release(3, RELEASE, (), (rotation,))
    laying, checking = [step.command for step in plan(release, world((rotation,))).steps]

    without = plan(release, world((rotation,), checkers=frozenset({"sh"})))

    assert checking == "logrotate --debug --state /dev/null /etc/logrotate.d/shop"
    assert commands(without) == [laying]


def test_nothing_is_left_to_do_when_all_is_as_it_should_be():
    made = plan(Release(3, RELEASE, (site(),), FILES), world(**DONE))

    assert (made.steps, made.notes) == ((), ())


def test_named_sites_are_disabled_before_ours_is_enabled():
    disabling = site(disable_sites=("000-default", "gone"))
    seen = world(**{**DONE, "enabled_sites": frozenset({"000-default"})})

    steps = commands(plan(Release(3, RELEASE, (disabling,), FILES), seen))

    assert steps[:2] == ["a2dissite 000-default", "a2ensite shop"]


def test_folders_that_apache_makes_itself_are_not_watched(tmp_path):
    """Such as /var/lib/apache2/fcgid, which mod_fcgid gives to Apache's account."""
    strange = tmp_path / "var/lib/apache2/fcgid"
    strange.mkdir(parents=True)
    strange.chmod(0o777)
    disabling = site(disable_sites=("000-default",))
    seen = world(enabled_sites=frozenset({"000-default"}))

    steps = plan(Release(3, RELEASE, (disabling,), FILES), seen).steps

    tools = [step for step in steps if step.command.startswith("a2")]
    assert [step.words[0] for step in tools] == ["a2enmod", "a2dissite", "a2ensite"]
    for step in tools:
        assert strange not in map(Tree(tmp_path).path, Tree(tmp_path).snapshot(step.watched))


def test_site_that_an_earlier_release_disabled_is_enabled_again():
    enabled = "/etc/apache2/sites-enabled"
    seen = {
        **DONE,
        "originals": {
            f"{enabled}/{name}.conf": Entry("link") for name in ("old", "gone", "named", "shop")
        },
        "available_sites": frozenset({"old", "named", "shop"}),
    }
    release = Release(3, RELEASE, (site(disable_sites=("named",)),), FILES)

    steps = commands(plan(release, world(**seen)))

    assert steps == ["a2ensite old", "apache2ctl configtest", "apache2ctl graceful", steps[-1]]


def test_apache_that_does_not_run_is_started():
    made = plan(Release(3, RELEASE, (site(),), FILES), world(is_running=False))

    assert commands(made)[-2] == "service apache2 start"


def test_scratch_tree_starts_no_server():
    made = plan(Release(3, RELEASE, (site(),), FILES), world(root=Path("/x"), is_running=False))

    assert "apache2ctl configtest" in commands(made)
    assert "/etc/init.d/shop start" not in commands(made)
    assert made.notes == ("the Apache of /x does not run, so nothing is reloaded",)


@pytest.mark.parametrize(
    ("enabled", "served_as", "is_new"),
    [
        ({"shop"}, b"    ServerName shop.example.org\n", False),
        ({"shop"}, b"    ServerName old.example.org\n", True),
        (set(), b"    ServerName shop.example.org\n", True),
    ],
)
def test_name_is_new_where_apache_has_not_served_by_it(enabled, served_as, is_new):
    there = {VHOST.name: Entry("file", 0o644, 0, 0, served_as)}
    seen = world(enabled_sites=frozenset(enabled))
    seen = dataclasses.replace(seen, entries={**seen.entries, **there})

    steps = plan(Release(3, RELEASE, (site(),), FILES), seen, force_new=True).steps

    (test,) = [step for step in steps if isinstance(step, kinds.Test)]
    assert test.names == (PublicName("shop", "shop.example.org", is_new),)


@pytest.mark.parametrize(
    ("running", "servers", "served"),
    [
        (set(), Servers(), ["/etc/init.d/shop start"]),
        (set(), Servers(moved={"shop"}), ["/etc/init.d/shop restart"]),
        ({"shop"}, Servers(outdated={"shop"}), ["/etc/init.d/shop try-restart"]),
        ({"shop"}, Servers(), []),
    ],
)
def test_server_is_brought_to_where_the_release_has_it(running, servers, served):
    seen = world(running=frozenset(running), servers=servers)

    made = commands(plan(Release(3, RELEASE, (site(),), FILES), seen))

    assert [line for line in made if line.startswith("/etc/init.d/shop ")] == served
    configtest = made.index("apache2ctl configtest")
    assert all(configtest < made.index(line) < made.index("apache2ctl graceful") for line in served)


def test_port_of_somebody_else_is_not_given_to_clients():
    seen = world(running=frozenset({"shop"}), servers=Servers(taken={"shop": "process 7 (x)"}))

    with pytest.raises(ActivationError) as caught:
        plan(Release(3, RELEASE, (site(),), FILES), seen)

    assert str(caught.value) == (
        "shop: port 8080 is taken by process 7 (x): set another port in [site] and run "
        "bin/buildout, or end that if it is yours"
    )


def test_changed_cron_entry_reloads_nothing():
    entry = Entry("file", 0o644, 0, 0, b"of release 2")
    before = {
        "laid": {**DONE["laid"], CRON.name: entry.digest},
        "entries": {**DONE["entries"], CRON.name: entry},
    }

    made = plan(Release(3, RELEASE, (site(),), FILES), world(**{**DONE, **before}))

    assert [step.split()[-1] for step in commands(made)] == ["/etc/cron.d/shop"]


def test_edited_file_is_kept_and_ours_put_beside_it():
    theirs = Entry("file", 0o644, 0, 0, b"mine")
    seen = world(**{**DONE, "laid": {}, "entries": {**DONE["entries"], CRON.name: theirs}})
    release = Release(3, RELEASE, (site(),), FILES)

    made = plan(release, seen)

    assert [step.split()[-1] for step in commands(made)] == [f"/etc/cron.d/shop{NEW}"]
    assert made.notes == (
        f"/etc/cron.d/shop: edited here, and left so; ours is /etc/cron.d/shop{NEW} "
        "(--force-new takes it)",
    )
    forced = plan(release, seen, force_new=True)
    assert commands(forced)[0] == "mv /etc/cron.d/shop /etc/cron.d/shop.pylonyard-old.disabled"
    assert commands(forced)[1].endswith("/etc/cron.d/shop")
    second = dataclasses.replace(seen, kept={CRON.name: f"{CRON.name}.pylonyard-old.1.disabled"})
    forced = plan(release, second, force_new=True)
    assert commands(forced)[0] == "mv /etc/cron.d/shop /etc/cron.d/shop.pylonyard-old.1.disabled"
    assert forced.notes == (
        "/etc/cron.d/shop: edited here; yours is kept as /etc/cron.d/shop.pylonyard-old.1.disabled",
    )


def test_file_of_another_sandbox_is_not_taken():
    release = Release(3, RELEASE, (site(),), FILES)

    with pytest.raises(ActivationError) as caught:
        plan(release, world(), force_new=True, claimed={INIT.name: "/srv/other"})

    assert str(caught.value) == (
        "/etc/init.d/shop: the sandbox /srv/other has installed it; "
        "rename this site, or, to deactivate the other: "
        + accounts.as_root("/srv/other/bin/pylonyard deactivate")
    )


def test_module_that_another_sandbox_laid_serves_both_and_is_left_to_it():
    seen = embedded_world()
    mod_wsgi = Release(3, RELEASE, (site(mode="mod_wsgi"),), (VHOST, WSGI))
    claimed = {WSGI.name: "/srv/other"}
    assert plan(mod_wsgi, seen, claimed=claimed).steps == ()

    seen = dataclasses.replace(seen, originals={WSGI.name: ABSENT}, running=frozenset({"shop"}))
    proxied = Release(4, RELEASE, (site(),), (VHOST,))

    assert plan(proxied, seen, claimed=claimed).steps == ()
    assert commands(plan(proxied, seen))[:2] == ["a2dismod wsgi", f"rm {WSGI.name}"]


def test_module_that_is_put_back_stays_enabled():
    theirs = Entry("file", 0o644, 0, 0, b"LoadModule theirs")
    seen = dataclasses.replace(embedded_world(), originals={WSGI.name: theirs})

    steps = commands(plan(Release(4, RELEASE, (site(),), (VHOST,)), seen))

    assert "a2dismod wsgi" not in steps


def test_removed_cron_entry_stays_removed():
    seen = world(**{**DONE, "entries": {**DONE["entries"], CRON.name: ABSENT}})

    made = plan(Release(3, RELEASE, (site(),), FILES), seen)

    assert made.steps == ()
    assert made.notes == ("/etc/cron.d/shop: removed here, and left so (--force-new puts it back)",)


def test_module_that_is_not_installed_is_named():
    with pytest.raises(ActivationError) as caught:
        plan(Release(3, RELEASE, (site(modules=("md",)),), FILES), world())

    assert str(caught.value) == (
        "Apache's module md: expected /etc/apache2/mods-available/md.load, which is missing; "
        "install the package that has it"
    )


def test_machine_without_apache_gets_the_rest():
    made = plan(Release(3, RELEASE, (site(),), FILES), world(is_installed=False))

    assert not [step for step in commands(made) if "apache2" in step]
    assert made.notes == (
        "Apache is not installed, so its part is left out; apt-get install apache2",
    )


def embedded_world(**folders):
    found = {Path(name): folder for name, folder in folders.items()}
    for path in [*(RELEASE / "shop").parents, RELEASE / "shop"]:
        found.setdefault(path, Permissions(0o755, 0, 0))
    for path in (Path("/srv/shop/var"), Path("/srv/shop/var/data")):
        found.setdefault(path, Permissions(0o755, 0, 0))
    return world(
        (VHOST, WSGI),
        folders=found,
        enabled_modules=frozenset({"alias", "proxy", "wsgi"}),
        enabled_sites=frozenset({"shop"}),
        **laid(VHOST, WSGI),
    )


def test_embedded_mode_opens_data_egg_cache_and_log_to_apache():
    seen = embedded_world(
        **{
            "/srv/shop/var/data/shop": Permissions(0o750, 1000, 1000),
            "/srv/shop/var/log": Permissions(0o755, 1000, 1000),
        }
    )
    release = Release(3, RELEASE, (site(mode="embedded"),), (VHOST, WSGI))

    made = plan(release, seen)

    assert commands(made)[:5] == [
        "usermod -a -G shop www-data",
        "runuser -u shop -- chmod 2770 /srv/shop/var/data/shop",
        "runuser -u shop -- mkdir --mode=2770 /srv/shop/var/data/shop/egg-cache",
        "runuser -u shop -- chmod 2775 /srv/shop/var/log",
        "runuser -u shop -- chmod -R g+rwX /srv/shop/var/log/shop.log",
    ]
    assert made.notes == ("shop: Apache runs it, so its init script and cron entry are left out",)


def test_embedded_mode_shares_what_the_account_has_in_its_data():
    data = Path("/srv/shop/var/data/shop")
    seen = dataclasses.replace(
        embedded_world(),
        written={
            Path("/srv/shop/var/log/shop.log"): Permissions(0o660, 1000, 1000, False),
            data / "shop.db": Permissions(0o644, 1000, 1000, False),
            data / "sessions": Permissions(0o700, 1000, 1000),
            data / "shared": Permissions(0o660, 1000, 1000, False),
            data / "of-another": Permissions(0o600, 0, 0, False),
        },
    )
    release = Release(3, RELEASE, (site(mode="embedded"),), (VHOST, WSGI))

    (shared,) = [step for step in plan(release, seen).steps if isinstance(step, Share)]

    assert shared.command == f"runuser -u shop -- chmod -R g+rwX {data}"
    assert shared.modes == (
        (data / "shop.db", 0o644, 0o664),
        (data / "sessions", 0o700, 0o2770),
    )


def test_server_that_was_stopped_is_among_the_effects_until_it_is_started():
    stopped = Effects().with_step(Serve("shop", "stop"), 1)
    started = Effects().with_step(Serve("shop", "start"))

    assert stopped.stopped == Effects.from_json(stopped.to_json()).stopped == ("shop",)
    assert not Effects().with_step(Serve("shop", "stop"))  # it did not run
    assert not Effects().with_step(Serve("shop", "start"), 1)  # it ran
    assert not started.then(stopped)
    assert not stopped.then(started)


def test_daemon_mode_needs_but_the_way_to_the_script():
    seen = embedded_world(**{"/srv/shop": Permissions(0o700, 1000, 1000)})
    release = Release(3, RELEASE, (site(mode="mod_wsgi"),), (VHOST, WSGI))

    assert commands(plan(release, seen))[:2] == [
        "usermod -a -G shop www-data",
        "runuser -u shop -- chmod 0710 /srv/shop",
    ]


def test_folder_of_another_account_is_reported_not_changed():
    seen = embedded_world(**{"/srv": Permissions(0o700, 0, 0)})
    release = Release(3, RELEASE, (site(mode="mod_wsgi"),), (VHOST, WSGI))

    made = plan(release, seen)

    assert made.steps == ()
    assert made.notes[0] == (
        "/srv: www-data may not use it; serve from below /srv: docs/on-a-real-server.rst"
    )


def test_mod_wsgi_as_root_is_refused():
    root = Account("root", 0, 0, "root", frozenset({0}))
    seen = embedded_world()
    seen = dataclasses.replace(seen, accounts={**seen.accounts, "root": root})

    with pytest.raises(ActivationError) as caught:
        plan(Release(3, RELEASE, (site(mode="mod_wsgi", user="root"),), (VHOST, WSGI)), seen)

    assert str(caught.value) == (
        "shop: expected an account of its own for mod_wsgi, got 'root'; "
        "set user in [site], and see that it exists"
    )


def test_server_whose_init_script_somebody_removed_is_left_and_reported():
    seen = world(
        **{
            **DONE,
            "entries": {**DONE["entries"], INIT.name: ABSENT},
            "originals": {INIT.name: ABSENT},
        }
    )

    made = plan(Release(4, RELEASE, (), (VHOST,)), seen)

    assert commands(made) == ["rm /etc/init.d/shop", "update-rc.d -f shop remove"]
    assert made.notes == (
        "/etc/init.d/shop: removed here, so the server of shop is left as it is; "
        "bin/shop of the release before can stop it",
    )


def test_change_to_mod_wsgi_takes_init_and_cron_away():
    seen = world(
        **{
            **DONE,
            "enabled_modules": frozenset({"alias", "proxy", "wsgi"}),
            "folders": embedded_world().folders,
        }
    )
    release = Release(4, RELEASE, (site(mode="mod_wsgi"),), (VHOST,))
    assert commands(plan(release, seen)) == []  # neither was ever ours
    seen = dataclasses.replace(seen, originals={INIT.name: ABSENT, CRON.name: ABSENT})

    assert commands(plan(release, seen)) == [
        "/etc/init.d/shop stop",
        "rm /etc/init.d/shop",
        "update-rc.d -f shop remove",
        "rm /etc/cron.d/shop",
    ]
