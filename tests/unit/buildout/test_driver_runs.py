import copy
import errno
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
import zc.buildout.easy_install
from indexes import guarded_index
from pylonyard.buildout import driver, installed_cfg, patches
from pylonyard.commands.lock import write as lock_command
from pylonyard.packages import credentials
from pylonyard.packages.index import Places
from pylonyard.packages.lock import pylock
from pylonyard.packages.wheels import sha256
from pylonyard.system import errors, progress
from support import (
    PACK,
    Sandbox,
    in_this_process,
    make_store,
    make_wheel,
    reset_buildout,
)
from zc.buildout import UserError, buildout

# Whole runs of buildout, in process.
pytestmark = pytest.mark.system


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Have zc.buildout be careful, for the time of a test."""
    monkeypatch.chdir(tmp_path)
    with reset_buildout():
        driver.prepare()
        yield


@pytest.fixture
def sandbox(prepared, tmp_path):
    """Return a sandbox, and have zc.buildout be the careful one."""
    made = Sandbox(tmp_path / "sandbox", make_store(tmp_path / "store"))
    made.config = made.config.replace("[buildout]\n", "[buildout]\nversions =\n", 1)
    return made


def run(sandbox, options=None):
    """Do what ``bin/buildout`` does, with our own Buildout."""
    sandbox.buildout(options)
    made = in_this_process(driver.Buildout(str(sandbox.directory / "buildout.cfg"), [], False))
    made.install([])
    return made


def record(sandbox):
    return sandbox.directory / ".installed.cfg"


@pytest.fixture
def installed_once(sandbox):
    run(sandbox)
    return sandbox


def test_record_and_its_copy_are_the_same_after_a_run(installed_once):
    copy = installed_once.directory / ".pylonyard" / "installed.cfg"

    assert copy.read_text() == record(installed_once).read_text()


def test_run_with_nothing_to_do_leaves_the_record_as_it_was(installed_once):
    before = record(installed_once).read_text()

    run(installed_once)

    assert record(installed_once).read_text() == before


@pytest.mark.parametrize("length", [0, 1, 100, -1, -40])
def test_cut_record_is_repaired_and_nothing_else_is_deleted(installed_once, caplog, length):
    before = installed_once.snapshot(".installed.cfg")
    whole = record(installed_once).read_text()
    record(installed_once).write_text(whole[:length])

    run(installed_once, {"site:port": "8080"})

    assert record(installed_once).read_text() == whole
    assert installed_once.snapshot(".installed.cfg") == before
    assert [r.message for r in caplog.records if "damaged" in r.message] != []


def test_parts_outside_the_sandbox_s_folders_are_kept(installed_once, caplog, tmp_path):
    precious = installed_once.directory / "var" / "precious"
    precious.parent.mkdir(exist_ok=True)
    precious.touch()
    built = driver.Buildout(str(installed_once.directory / "buildout.cfg"), [], False)

    built._uninstall(f"{precious}\n\n{installed_once.directory}/var\nparts/init\nparts\n/none")

    assert precious.exists()
    assert not (installed_once.directory / "parts" / "init").exists()
    assert (installed_once.directory / "parts" / "app").exists()
    assert [r.message for r in caplog.records if "is kept" in r.message] == [
        f"{path} is kept: it is in none of parts, bin and develop-eggs."
        for path in (precious, installed_once.directory / "var", "parts")
    ]


def test_damaged_manifest_makes_a_new_release(installed_once):
    manifest = installed_once.directory / "releases" / "1" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-10])

    run(installed_once)

    assert os.readlink(installed_once.directory / "current") == "releases/2"


def test_leftovers_among_the_releases_are_removed_by_a_run_without_a_release(installed_once):
    left = installed_once.directory / "releases" / ".draft-x"
    left.mkdir()

    run(installed_once)

    assert os.readlink(installed_once.directory / "current") == "releases/1"
    assert not left.exists()


@pytest.mark.parametrize(
    ("target", "made"),
    [
        ("", "releases/2"),
        ("r", "releases/2"),
        ("releases", "releases/2"),
        ("releases/", "releases/2"),
        ("releases/9", "releases/10"),  # no number twice: somebody may know that one
    ],
)
def test_lost_or_cut_current_makes_a_new_release(installed_once, target, made):
    current = installed_once.directory / "current"
    current.unlink()
    if target:
        current.symlink_to(target)

    run(installed_once)

    assert os.readlink(current) == made


def test_leftovers_of_killed_runs_in_the_cache_are_removed(installed_once):
    left = [
        installed_once.store / "cache" / name / ".draft-x" / "file"
        for name in ("sandboxes", "projects", "mod_wsgi", "dist")
    ]
    for path in left:
        path.parent.mkdir(parents=True)
        path.touch()

    run(installed_once)

    assert [path for path in left if path.parent.exists()] == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_place_that_cannot_be_written_is_one_line(number):
    with pytest.raises(UserError) as caught, driver.in_one_line():
        raise OSError(number, "No way", "/a/file")

    assert str(caught.value) == "cannot write /a/file: No way; correct that, and run again"


def test_other_errors_are_not_explained_away():
    with pytest.raises(FileNotFoundError), driver.in_one_line():
        raise FileNotFoundError(errno.ENOENT, "None", "/a/file")


def dist_of(wheel):
    return zc.buildout.easy_install.pkg_resources.Distribution(
        str(wheel), project_name="Shop", version="1.0"
    )


def test_egg_is_made_whole_and_no_draft_is_left(prepared, tmp_path):
    eggs = tmp_path / "eggs"

    made = patches.make_egg(dist_of(make_wheel(tmp_path)), str(eggs))

    assert Path(made.location).parent == eggs
    assert os.listdir(eggs) == [Path(made.location).name]
    assert made.precedence == zc.buildout.easy_install.pkg_resources.EGG_DIST


def test_egg_that_another_run_made_is_taken(prepared, tmp_path):
    eggs = tmp_path / "eggs"
    dist = dist_of(make_wheel(tmp_path))
    first = Path(patches.make_egg(dist, str(eggs)).location)
    before = first.stat()

    assert patches.make_egg(dist, str(eggs)).location == str(first)
    assert first.stat() == before


def test_half_made_distributions_are_not_seen(tmp_path):
    (tmp_path / "tmpabcdef" / "Shop-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "Shop-1.0-py3.11.egg" / "Shop-1.0.dist-info").mkdir(parents=True)

    class Installer:
        _dest = str(tmp_path)

    assert patches.whole_eggs(Installer()) == [str(tmp_path / "Shop-1.0-py3.11.egg")]


def test_installer_without_a_destination_has_no_eggs():
    class Installer:
        _dest = None

    assert patches.whole_eggs(Installer()) == []


class Index:
    """Downloads like buildout's: straight to the place, byte by byte."""

    def __init__(self, is_whole=True):
        self.is_whole = is_whole

    def download(self, location, folder):
        place = Path(folder, Path(location).name)
        place.write_text("half")
        if not self.is_whole:
            raise KeyboardInterrupt
        place.write_text("whole")
        return str(place)


def fetched(tmp_path, is_whole):
    class Installer:
        _index = Index(is_whole)

    dist = dist_of(Path("/elsewhere/Shop-1.0-py3-none-any.whl"))
    return patches.fetch(Installer(), dist, str(tmp_path), str(tmp_path))


def test_download_appears_when_it_is_whole(prepared, tmp_path):
    found = fetched(tmp_path / "dist", True)

    assert found.location == str(tmp_path / "dist" / "Shop-1.0-py3-none-any.whl")
    assert Path(found.location).read_text() == "whole"
    assert os.listdir(tmp_path / "dist") == ["Shop-1.0-py3-none-any.whl"]


def test_download_cut_short_leaves_nothing(prepared, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fetched(tmp_path / "dist", False)

    assert os.listdir(tmp_path / "dist") == []


def test_file_of_find_links_is_copied_and_stays(prepared, tmp_path):
    wheel = make_wheel(tmp_path)

    class Copied:
        _index = type("Local", (), {"download": lambda _, location, folder: location})()

    found = patches.fetch(Copied(), dist_of(wheel), str(tmp_path / "d"), str(tmp_path / "d"))

    assert Path(found.location).read_bytes() == wheel.read_bytes()
    assert wheel.exists()


def test_tool_s_buildout_is_the_careful_one(prepared):
    assert issubclass(buildout.Buildout, driver.Buildout)


class Refusing:
    """Refuses to replace the record, as a full disk does."""

    def __init__(self, monkeypatch, after=0):
        self.left = after
        self.given = installed_cfg.write
        monkeypatch.setattr(installed_cfg, "write", self)

    def __call__(self, path, text):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        self.given(path, text)


def test_record_that_cannot_be_written_fails_a_run_and_is_removed(installed_once, monkeypatch):
    Refusing(monkeypatch)

    with pytest.raises(UserError) as caught:
        run(installed_once, {"site:port": "8081"})

    assert str(caught.value) == (
        f"cannot write {record(installed_once)}: No space left on device; "
        "correct that, and run again"
    )
    assert not record(installed_once).exists()
    assert os.readlink(installed_once.directory / "current") == "releases/1"


def test_record_that_cannot_be_written_after_a_release_is_reported(
    installed_once, monkeypatch, caplog
):
    made = run(installed_once)
    made.record._release = "releases/0"
    Refusing(monkeypatch)

    made.record.write("[buildout]\nparts =\n")

    assert [r.message for r in caplog.records if "again" in r.message] == [
        f"cannot write {record(installed_once)}: No space left on device; "
        "the next run installs all parts again."
    ]


def test_copy_that_cannot_be_written_fails_no_run(installed_once, monkeypatch, caplog):
    monkeypatch.setattr(
        installed_cfg.Record,
        "keep_copy",
        lambda self: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space", "/copy")),
    )

    run(installed_once)

    assert "cannot write /copy: No space." in [r.message for r in caplog.records]


def test_copy_of_an_option_has_a_history_of_its_own(prepared):
    option = buildout.SectionKey("one", "base.cfg")

    twin = copy.deepcopy(option)
    twin.addToValue("two", "staging.cfg")

    assert (option.value, twin.value) == ("one", "one\ntwo")
    assert [item.source for item in option.history] == ["base.cfg"]
    assert [item.source for item in twin.history] == ["base.cfg", "staging.cfg"]


def test_recipes_are_read_for_a_change_and_eggs_are_not(prepared, tmp_path):
    egg, recipes = tmp_path / "shop-1.0-py3.11.egg", tmp_path / "recipes"
    before = []
    for tree in (egg, recipes):
        tree.mkdir()
        (tree / "shop.py").write_text("price = 1\n")
        before.append(patches.tree_hash(str(tree)))
        (tree / "shop.py").write_text("price = 2\n")
    buildout._dir_hashes.clear()

    assert before[0] == egg.name
    assert patches.tree_hash(str(egg)) == before[0]
    assert patches.tree_hash(str(recipes)) != before[1]


@pytest.mark.parametrize(
    ("given", "shown"), [([], True), ([("buildout", "verbosity", "-10")], False)]
)
def test_picked_versions_are_shown_as_a_block_to_copy_unless_q_is_given(
    prepared, tmp_path, monkeypatch, capsys, given, shown
):
    monkeypatch.setattr(progress, "_is_silent", False)
    # An extension that a stock buildout has loaded already is picked in two spellings.
    twice = {"Shop": "1.0", "mr-shop": "2.0", "mr.shop": "2.0"}
    monkeypatch.setattr(zc.buildout.easy_install.Installer, "_picked_versions", twice)
    monkeypatch.setattr(zc.buildout.easy_install.Installer, "_required_by", {})
    (tmp_path / "buildout.cfg").write_text("[buildout]\nparts =\nshow-picked-versions = true\n")

    run = driver.Buildout(str(tmp_path / "buildout.cfg"), given, False)
    run.say_last("what comes next")
    run.install([])

    out, last = capsys.readouterr().out, "pylonyard: what comes next\n"
    assert out.endswith(f"[versions]\nShop = 1.0\nmr.shop = 2.0\n\n{last}" if shown else "")
    assert ("Shop = 1.0" in out) is shown


SITES = """
[buildout]
parts = release
[release]
recipe = pylonyard:release
sites = site blog
[site]
recipe = pylonyard:site
name = quill
server-name = quill.example.org
port = 8080
eggs = Shop
environment = development
roles = cron
[blog]
<= site
name = journal
[cron]
recipe = pylonyard:cron_restart
name = ${site:name}
[blog-cron]
schedule = @daily
"""


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("cron", ""),
        ("blog-cron", ""),
        ("quill-cron", "there is no section [quill-cron]; its section is [cron]"),
        ("journal-cron", "there is no section [journal-cron]; its section is [blog-cron]"),
        ("journal", "there is no section [journal]; its section is [blog]"),
        ("blog-corn", "there is no section [blog-corn]; did you mean blog-cron?"),
        ("nothing", "there is no section [nothing]"),
    ],
)
def test_part_of_a_site_is_installed_by_its_section(prepared, tmp_path, part, message):
    (tmp_path / "buildout.cfg").write_text(SITES)
    run = driver.Buildout(str(tmp_path / "buildout.cfg"), [], False)
    if message:
        with pytest.raises(UserError) as caught:
            run.install([part])
        assert str(caught.value) == f"install {part}: {message}"
        return

    run.install([part])

    assert run[part]["name"] == ("journal" if "blog" in part else "quill")
    assert f"[{part}]" in (tmp_path / ".installed.cfg").read_text()


def test_part_that_is_made_anew_is_not_told_to_be_uninstalled(installed_once, capsys):
    capsys.readouterr()
    run(installed_once, {"site:port": "8091"})
    out = capsys.readouterr().out
    assert "Installing ini." in out
    assert "Uninstalling" not in out

    (installed_once.directory / "buildout.cfg").write_text(
        "[buildout]\nparts =\nshow-picked-versions = false\n"
    )
    made = driver.Buildout(str(installed_once.directory / "buildout.cfg"), [], False)
    in_this_process(made).install([])

    assert "Uninstalling release." in capsys.readouterr().out


def holders(folder, word):
    """Return the files below a folder that have a word in them."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path.name for path in files if word in path.read_bytes()]


def test_password_of_an_index_is_in_the_configuration_alone(
    sandbox, tmp_path, caplog, monkeypatch, capfd
):
    monkeypatch.setattr(credentials.KNOWN, "given", {})
    caplog.set_level("DEBUG")
    with guarded_index(sandbox.store) as index:
        options = {
            "where:login": "ci:S3cr3t",
            "buildout:index": f"http://${{where:login}}@{index.host}/index/",
            "buildout:find-links": index.with_login("ci:S3cr3t", "/wheels/"),
            "app:find-links": "${buildout:find-links}",
            "app:index": "${buildout:index}",
        }
        run(sandbox, options)
        before = record(sandbox).read_text()
        run(sandbox, options).annotate()

    assert index.asked != []
    assert {login for _, login in index.asked} == {"ci:S3cr3t"}
    assert f"index = {index.address}/index/" in before
    assert holders(tmp_path, b"S3cr3t") == ["buildout.cfg"]
    assert "S3cr3t" not in caplog.text
    # What is no address stays what it is.
    output = capfd.readouterr()
    assert "S3cr3t" not in output.err + output.out.replace("login= ci:S3cr3t", "")
    assert record(sandbox).read_text() == before


def test_password_in_an_older_record_is_removed(installed_once, monkeypatch):
    monkeypatch.setattr(credentials.KNOWN, "given", {})
    text = record(installed_once).read_text()
    address = "http://ci:S3cr3t@127.0.0.1:1/"
    record(installed_once).write_text(text.replace("[app]\n", f"[app]\nindex = {address}\n"))

    run(installed_once, {"app:index": address})

    assert "index = http://127.0.0.1:1/" in record(installed_once).read_text()
    assert holders(installed_once.directory, b"S3cr3t") == ["buildout.cfg"]


def test_index_that_refuses_a_password_is_named_without_it(sandbox, monkeypatch):
    monkeypatch.setattr(credentials.KNOWN, "given", {})
    with guarded_index(sandbox.store) as index, pytest.raises(UserError) as caught:
        run(sandbox, {"buildout:find-links": index.with_login("ci:wr0ng", "/wheels/")})

    place = f"{index.address}/wheels/"
    assert str(caught.value).endswith(
        f"cannot read {place}: 401 Unauthorized, it refuses the password of ci from the "
        "configuration; correct that"
    )
    assert "wr0ng" not in str(caught.value)


# A build backend that notes each build.
BACKEND = """
def build_wheel(folder, settings=None, metadata=None):
    open({log!r}, "a").write("built\\n")
    members = {{
        "cart.py": "price = 1\\n",
        "Cart-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        ),
    }}
    return pack(folder, "Cart", members)
"""
DESCRIPTION = """
[build-system]
requires = [{requires}]
build-backend = "backend"
{path}
"""


def make_sdist(folder, log, requires=""):
    """Make a source archive of Cart 1.0, which has its backend, or requires one."""
    archive = folder / "Cart-1.0.tar.gz"
    path = "" if requires else 'backend-path = ["."]'
    description = DESCRIPTION.format(requires=repr(requires) if requires else "", path=path)
    with tarfile.open(archive, "w:gz") as packed:
        for name, text in {
            "backend.py": PACK + BACKEND.format(log=str(log)),
            "pyproject.toml": description,
        }.items():
            member = tarfile.TarInfo(f"Cart-1.0/{name}")
            member.size = len(text.encode())
            packed.addfile(member, io.BytesIO(text.encode()))
    return archive


def locked_packages(path):
    return {each.name: each for each in pylock.read(path).packages}


def test_lock_with_a_source_is_written_and_taken_by_buildout_s_own_python(sandbox, tmp_path):
    log, lock = tmp_path / "builds", sandbox.directory / "pylock.toml"
    source = make_sdist(sandbox.store / "wheels", log)
    options = {"app:eggs": "Shop\nCart"}
    run(sandbox, options)
    places = Places((str(sandbox.store / "wheels"),), str(sandbox.store / "index"))

    lock_command.command(sandbox.directory, lock, (), places)

    cart = locked_packages(lock)["cart"]
    assert cart.sdist == (source.name, sha256(source))
    shutil.rmtree(sandbox.store / "eggs")
    log.unlink()
    for _ in range(2):
        run(sandbox, {**options, "app:lock": str(lock), "buildout:offline": "true"})
    assert log.read_text() == "built\n"


def lock_all(sandbox, folder):
    """Lock the files of a folder; what Bench is for are builds."""
    packages = [
        pylock.Locked(
            name=file.name.partition("-")[0].lower().replace("_", "-"),
            version="1.0",
            wheels={} if file.suffix == ".gz" else {file.name: sha256(file)},
            sdist=(file.name, sha256(file)) if file.suffix == ".gz" else None,
            marker=pylock.BUILD_MARKER if file.name.startswith("Bench") else None,
        )
        for file in sorted(folder.iterdir())
    ]
    lock = sandbox.directory / "pylock.toml"
    lock.write_text(pylock.text(packages, str(folder)))
    return lock


def test_locked_source_is_built_by_the_backend_that_the_lock_has(sandbox, tmp_path):
    log, wheels = tmp_path / "builds", sandbox.store / "wheels"
    backend = PACK + BACKEND.format(log=str(log))
    make_wheel(wheels, "Bench", files={"backend.py": backend})
    make_sdist(wheels, log, requires="Bench")
    lock = lock_all(sandbox, wheels)

    made = run(sandbox, {"app:eggs": "Shop\nCart", "app:lock": str(lock)})

    assert log.read_text() == "built\n"
    home = Path(made["app"]["home"])
    (path,) = home.glob("lib/python3*/site-packages/*.pth")
    assert "/Cart-1.0-" in path.read_text()
    assert "/Bench-1.0-" not in path.read_text()

    places = Places((str(wheels),), str(sandbox.store / "index"))
    with pytest.raises(errors.UserError) as caught:
        lock_command.command(sandbox.directory, lock, (), places)
    assert str(caught.value) == (
        "cannot lock Cart-1.0.tar.gz: building it requires Bench; lock that as well, and what it "
        "requires, each by an option: bin/pylonyard lock --with NAME==VERSION"
    )
    lock_command.command(sandbox.directory, lock, ("Bench==1.0",), places)
    assert {"bench", "cart"} <= locked_packages(lock).keys()


def test_locked_source_that_is_needed_to_build_itself_is_refused(sandbox, tmp_path):
    make_sdist(sandbox.store / "wheels", tmp_path / "builds", requires="Cart")
    lock = lock_all(sandbox, sandbox.store / "wheels")

    with pytest.raises(UserError) as caught:
        run(sandbox, {"app:eggs": "Shop\nCart", "app:lock": str(lock)})

    assert str(caught.value) == (
        "[app] lock: cannot build Cart-1.0.tar.gz: that requires Cart, of which one can only be "
        "built with Cart"
    )


def test_lock_that_could_not_be_installed_is_not_written(sandbox, tmp_path):
    lock = sandbox.directory / "pylock.toml"
    run(sandbox)
    # A wheel for another Python alone is what is left of the one that was installed.
    dist = sandbox.store / "cache" / "dist"
    for wheel in (*dist.glob("Shop_Loader*"), *(sandbox.store / "wheels").glob("Shop_Loader*")):
        wheel.rename(wheel.with_name("Shop_Loader-1.0-cp27-cp27mu-linux_x86_64.whl"))

    with pytest.raises(errors.UserError) as caught:
        lock_command.command(sandbox.directory, lock, (), None)

    assert str(caught.value) == (
        "[app] cannot lock what was installed: expected a file of shop-loader 1.0 for its Python; "
        "run bin/buildout again where there is a network, and then this"
    )
    assert not lock.exists()
