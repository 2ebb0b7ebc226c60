import contextlib
import json
import urllib.request

import package_index
import pytest
from packaging.utils import canonicalize_name
from pylonyard.packages import credentials, downloads, zc_installer
from pylonyard.packages.resolver import record
from pylonyard.packages.zc_installer import Asked
from pylonyard.system.errors import OptionError
from support import make_wheel

LIBRARIES = {
    "pyxlib 1.0": [],
    "pyxlib 2.0": [],
    "pyxstrict 1.0": ["pyxlib>=2.0"],
    "pyxloose 1.0": ["pyxlib>=1.0"],
    "appold 1.0": ["pyxlib==1.0"],
    "appnew 1.0": ["pyxloose", "pyxstrict"],
}


@pytest.fixture
def install(sandbox, tmp_path):
    """Return a function: requirements -> "name version" of the eggs of a real buildout."""

    def run(index, *wanted, versions=None, asked=Asked(), section="app", links="", **options):  # noqa: B008
        options = {"eggs-directory": str(tmp_path / "eggs"), **options}
        options["download-cache"] = str(tmp_path / "cache")
        options = {f"buildout:{n.replace('_', '-')}": v for n, v in options.items()}
        options["buildout:find-links"] = links
        buildout = sandbox.buildout(options)
        found = zc_installer.locations(
            buildout, section, wanted, [], (), index.url, versions, asked=asked
        )
        return [" ".join(path.name.split("-")[:2]) for path in found]

    return run


@pytest.fixture
def serve(tmp_path):
    """Return a function that serves an index, as long as the test lasts."""
    with contextlib.ExitStack() as stack:
        yield lambda table, **how: stack.enter_context(
            package_index.serve(tmp_path / "files", table, **how)
        )


def test_an_old_version_in_the_cache_is_not_picked_for_another_application(install, serve):
    index = serve(LIBRARIES)

    assert install(index, "appold", section="old") == ["appold 1.0", "pyxlib 1.0"]
    assert install(index, "appnew") == ["appnew 1.0", "pyxlib 2.0", "pyxloose 1.0", "pyxstrict 1.0"]
    assert install(index, "pyxloose", section="third") == ["pyxlib 2.0", "pyxloose 1.0"]


def test_what_was_chosen_stays_until_the_newest_is_asked_for(install, serve, sandbox):
    index = serve({"shop 1.0": []})
    first = install(index, "shop")
    index.add({"shop 2.0": []})
    index.asked.clear()

    assert install(index, "shop") == first == ["shop 1.0"]
    assert index.asked == []
    assert install(index, "shop>=1", "shop") == ["shop 2.0"]  # it is another requirement
    index.add({"shop 3.0": []})
    assert install(index, "shop>=1", "shop", newest="true") == ["shop 3.0"]
    record = json.loads((sandbox.directory / ".pylonyard" / "resolved.json").read_text())
    assert record["version"] == 1
    (chosen,) = record["sections"]["app"]["distributions"]
    assert (chosen["name"], chosen["version"], len(chosen["sha256"])) == ("shop", "3.0", 64)


def test_one_distribution_moves_and_the_others_stay_if_they_can(install, serve, sandbox):
    index = serve({"shop 1.0": ["lib"], "lib 1.0": ["base"], "base 1.0": [], "blog 1.0": []})
    before = install(index, "shop", "blog")
    held = {"app": dict(each.split() for each in before)}
    newer = {"shop 2.0": ["lib"], "lib 2.0": ["base>=2"], "base 2.0": [], "base 3.0": []}
    index.add({**newer, "blog 2.0": []})

    record.update(sandbox.directory, ["lib"], held)

    after = ["base 3.0", "blog 1.0", "lib 2.0", "shop 1.0"]
    assert install(index, "shop", "blog") == after
    index.asked.clear()
    assert install(index, "shop", "blog") == after
    assert index.asked == []


def test_what_a_build_has_moves_too_and_a_choice_can_be_put_back(install, serve, sandbox):
    index = serve({"shop 1.0": [], "hatch 1.0": []})
    install(index, "shop")
    install(index, "hatch", section="app, to build: hatch")
    index.add({"shop 2.0": [], "hatch 2.0": []})

    kept = record.update(sandbox.directory, ["hatch"], {"app": {"shop": "1.0"}})

    assert install(index, "shop") == ["shop 1.0"]
    assert install(index, "hatch", section="app, to build: hatch") == ["hatch 2.0"]
    record.restore(sandbox.directory, kept)
    assert install(index, "hatch", section="app, to build: hatch") == ["hatch 1.0"]


def test_what_is_needed_later_is_downloaded_with_the_recorded_digest(install, serve, tmp_path):
    index = serve({"shop 1.0": []})
    install(index, "shop")
    for folder in ("eggs", "cache"):
        (tmp_path / folder).rename(tmp_path / f"{folder}-gone")
    make_wheel(index.folder, "shop", "1.0", {"other.py": ""})

    with pytest.raises(OptionError, match=r"eggs: .*shop-1.0-py3-none-any.whl: expected SHA-256"):
        install(index, "shop")


@pytest.mark.parametrize("how", [{}, {"speaks_json": False}, {"has_metadata": False}])
def test_pages_of_both_kinds_are_read_and_little_is_downloaded(install, serve, how):
    index = serve({**{f"shop {n}.0": [f"lib<{n}"] for n in (1, 2, 3)}, "lib 1.0": []}, **how)

    assert install(index, "shop") == ["lib 1.0", "shop 3.0"]
    files = [path for path in index.asked if path.endswith(".whl")]
    assert sorted(files) == ["/files/lib-1.0-py3-none-any.whl", "/files/shop-3.0-py3-none-any.whl"]
    assert len(index.asked) == (4 if how.get("has_metadata") is False else 6)


def test_yanked_files_and_those_of_other_pythons_are_left_alone(install, serve):
    index = serve({f"shop {n}.0": [] for n in range(1, 6)})
    index.yanked = {"shop-5.0-py3-none-any.whl", "shop-4.0-py3-none-any.whl"}
    index.requires_python = {"shop-3.0-py3-none-any.whl": "<3"}

    assert install(index, "shop") == ["shop 2.0"]
    assert install(index, "shop==4.0") == ["shop 4.0"]  # as pip does, since it was named
    with pytest.raises(OptionError) as caught:
        install(index, "shop>=3")
    assert str(caught.value) == (
        "[app] eggs: cannot get shop>=3: there is only shop 2.0, shop 4.0, which was yanked, "
        "shop 5.0, which was yanked"
    )


def test_what_find_links_has_is_not_asked_of_the_index(install, serve, tmp_path):
    index = serve({"shop 9.0": [], "lib 1.0": []})
    links = tmp_path / "links"
    links.mkdir()
    make_wheel(links, "Shop", "1.0", requires="lib")

    assert install(index, "shop", links=str(links)) == ["lib 1.0", "Shop 1.0"]
    assert "/simple/shop/" not in index.asked
    assert "/simple/" not in index.asked
    asked = Asked(from_index=("Shop",))
    assert install(index, "shop", links=str(links), asked=asked) == ["shop 9.0"]


def test_an_index_is_never_asked_for_the_list_of_all(install, serve):
    index = serve({})

    with pytest.raises(OptionError, match=r"cannot get nothing: it is not in "):
        install(index, "nothing")

    assert index.asked == ["/simple/nothing/"]


def test_pins_of_others_do_not_bind(install, serve, sandbox, tmp_path, monkeypatch):
    index = serve({f"pyramid {n}": [] for n in ("1.10", "2.0", "2.1")} | {"app 1.0": ["pyramid<2"]})
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    ours = profiles / "versions-site.cfg"
    ours.write_text("[versions]\npyramid = 2.0\n")
    monkeypatch.setattr("pylonyard.packages.resolver.pins.profile", lambda: profiles / "base.cfg")
    sandbox.config = f"[buildout]\nextends = {ours}\n" + sandbox.config.replace("[buildout]", "", 1)

    assert install(index, "app") == ["app 1.0", "pyramid 1.10"]
    assert install(index, "pyramid") == ["pyramid 2.0"]  # what we have tried, where it fits


@pytest.mark.parametrize("pin", ["versions", "constraints", "eggs"])
def test_pins_are_taken_wherever_they_stand(install, serve, tmp_path, pin):
    index = serve({f"shop {n}": [] for n in ("0.1", "1.0", "2.0")})
    limits = tmp_path / "requirements.txt"
    limits.write_text("# pins\nShop == 0.1 \\\n    ; python_version >= '3'  # old\nnever>=3\n")
    options = {
        "versions": {"versions": {"Shop": "0.1"}},
        "constraints": {"asked": Asked(limits)},
        "eggs": {},
    }[pin]
    wanted = "shop == 0.1" if pin == "eggs" else "shop"

    allowed = {"allow_picked_versions": "false"}
    assert install(index, wanted, **options, **allowed) == ["shop 0.1"]


def test_without_a_pin_all_that_would_be_picked_is_named(install, serve):
    index = serve({"shop 1.0": ["lib"], "lib 2.0": []})

    with pytest.raises(OptionError) as caught:
        install(index, "shop", allow_picked_versions="false")

    assert str(caught.value) == (
        "[app] eggs: lib, shop have no pins, and allow-picked-versions is false; the newest that "
        "fit are 2.0, 1.0: write lib = 2.0, shop = 1.0 below [versions] of your configuration"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("shop[card]==1", "line 2: expected a constraint such as Paste==3.10.1, got"),
        ("--index-url http://x", "line 2: expected a constraint such as Paste==3.10.1, got"),
        ("-r nowhere.txt", "cannot read .*nowhere.txt: "),
    ],
)
def test_a_line_that_is_no_constraint_is_one_line(install, serve, tmp_path, line, message):
    limits = tmp_path / "constraints.txt"
    limits.write_text(f"\n{line}\n")

    with pytest.raises(OptionError, match=message):
        install(serve({"shop 1.0": []}), "shop", asked=Asked(limits))


def test_hashes_of_a_constraint_are_heeded(install, serve, tmp_path):
    index = serve({"shop 1.0": []})
    limits = tmp_path / "constraints.txt"
    limits.write_text(f"shop==1.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(OptionError, match="cannot get shop"):
        install(index, "shop", asked=Asked(limits))


def test_a_conflict_is_told_with_what_leads_to_it(install, serve):
    index = serve(LIBRARIES)

    with pytest.raises(OptionError) as caught:
        install(index, "appold", "appnew")

    assert str(caught.value) == (
        "[app] eggs: no versions fit together: appold 1.0 needs pyxlib==1.0, but "
        "appnew 1.0 -> pyxstrict 1.0 needs pyxlib>=2.0"
    )


def test_a_pin_that_a_requirement_excludes_is_told_with_where_it_stands(install, serve):
    with pytest.raises(OptionError) as caught:
        install(serve(LIBRARIES), "appnew", versions={"pyxlib": "1.0"})

    assert str(caught.value) == (
        "[app] eggs: no versions fit together: appnew 1.0 -> pyxstrict 1.0 needs pyxlib>=2.0, but "
        "[versions] pyxlib = 1.0"
    )


@pytest.fixture
def logins(monkeypatch, tmp_path):
    """Return the file for passwords; downloads go by it, as in ``bin/buildout``."""
    monkeypatch.setattr(urllib.request, "_opener", downloads.opener())
    monkeypatch.setattr(credentials.KNOWN, "given", {})
    monkeypatch.setattr(credentials.KNOWN, "answered", {})
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


@pytest.mark.parametrize("given", ["url", "netrc"])
def test_an_index_with_a_password_is_read(install, serve, logins, sandbox, given):
    index = serve({"shop 1.0": []}, account=("ci", "S3cr3t/x"))
    if given == "netrc":
        logins.write_text("machine 127.0.0.1 login ci password S3cr3t/x\n")
        logins.chmod(0o600)
    else:
        index.url = index.url.replace("//", "//ci:S3cr3t%2Fx@")

    assert install(index, "shop") == ["shop 1.0"]
    assert "S3cr3t" not in (sandbox.directory / record.RECORD).read_text()


def test_a_wrong_password_is_told_without_it(install, serve, logins):
    index = serve({"shop 1.0": []}, account=("ci", "S3cr3t"))
    plain, index.url = index.url, index.url.replace("//", "//ci:wr0ng@")

    with pytest.raises(OptionError) as caught:
        install(index, "shop")

    assert str(caught.value) == (
        f"[app] eggs: cannot read {plain}/shop/: 401 Unauthorized, it refuses the password of ci "
        "from the configuration; correct that"
    )


def test_offline_the_download_cache_is_the_index(install, serve, tmp_path, sandbox):
    index = serve(LIBRARIES)
    dist = tmp_path / "cache" / "dist"
    dist.mkdir(parents=True)
    for name in ("pyxlib-1.0", "pyxlib-2.0", "pyxstrict-1.0", "pyxloose-1.0", "appnew-1.0"):
        file = f"{name}-py3-none-any.whl"
        (dist / file).write_bytes((index.folder / file).read_bytes())

    found = install(index, "appnew", offline="true")

    assert found == ["appnew 1.0", "pyxlib 2.0", "pyxloose 1.0", "pyxstrict 1.0"]
    assert index.asked == []
    assert {canonicalize_name(each.split()[0]) for each in found} == {
        each["name"]
        for each in json.loads((sandbox.directory / record.RECORD).read_text())["sections"]["app"][
            "distributions"
        ]
    }


def test_requirement_with_a_url_installs_the_file_that_it_names(install, serve, tmp_path):
    index = serve({"web 1.0": [], "web 3.0": [], "lib 1.0": []})
    links, mine = tmp_path / "links", tmp_path / "mine"
    links.mkdir()
    mine.mkdir()
    make_wheel(links, "web", "1.0")
    wheel = make_wheel(mine, "web", "1.0.post9", requires="lib")
    url, files = f"web @ {wheel.as_uri()}", index.url.replace("/simple", "/files")

    assert install(index, url, links=str(links)) == ["lib 1.0", "web 1.0.post9"]
    assert install(index, f"web @ {files}/web-1.0-py3-none-any.whl") == ["web 1.0"]
    assert install(index, url, offline="true") == ["lib 1.0", "web 1.0.post9"]
    assert "/simple/web/" not in index.asked
    with pytest.raises(OptionError) as caught:
        install(index, url, versions={"web": "1.0"})
    assert str(caught.value) == (
        "[app] eggs: cannot get web==1.0 ([versions] web = 1.0): there is only web 1.0.post9"
    )


def test_another_file_of_the_same_version_is_not_passed_over(install, serve, tmp_path):
    index = serve({})
    (tmp_path / "mine").mkdir()
    wheel = make_wheel(tmp_path / "mine", "web", "1.0")
    url = f"web @ {wheel.as_uri()}"
    install(index, url)
    make_wheel(wheel.parent, "web", "1.0", {"other.py": ""})

    with pytest.raises(OptionError) as caught:
        install(index, url)

    assert str(caught.value).endswith(
        f": expected the egg of {wheel}, got that of another file of this version; give the file "
        "a version of its own"
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (
            "git+https://git.example/web@v1.0",
            "expected the URL of a wheel or of a source archive, got a repository; clone it, and "
            "name the clone in sources",
        ),
        (
            "https://host.example/shop-1.0.tar.gz",
            "expected the URL of a wheel or of a source archive, got shop-1.0.tar.gz; a file of "
            "web has its name",
        ),
        ("file:///missing/web-1.0.tar.gz", "there is no such file"),
    ],
)
def test_url_of_anything_else_is_refused(install, serve, url, problem):
    with pytest.raises(OptionError) as caught:
        install(serve({}), f"web @ {url}")

    assert str(caught.value) == f"[app] eggs: web @ {url}: {problem}"


def test_password_in_a_url_is_refused_and_not_told(install, serve):
    with pytest.raises(OptionError) as caught:
        install(serve({}), "web @ https://ci:S3cr3t@host.example/web-1.0.tar.gz")

    assert str(caught.value) == (
        "[app] eggs: web @ https://host.example/web-1.0.tar.gz: expected no password in a URL: "
        "files would keep it; write it into ~/.netrc"
    )
