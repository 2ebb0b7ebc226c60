"""The defects of zc.buildout, shown in it as it is: when one is gone, so may its patch be."""

import ast
import copy
import gc
import inspect
import logging
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from pylonyard.buildout import patches
from support import CHECKOUT, make_wheel, reset_buildout, serve_folder
from zc.buildout import buildout, configparser, easy_install

INSTALLER, INDEX = easy_install.Installer, easy_install.AllowHostsPackageIndex
Requirement = easy_install.pkg_resources.Requirement
SHOWN: set[str] = set()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to be in, for zc.buildout without any patch."""
    monkeypatch.chdir(tmp_path)
    assert all(vars(each.owner).get(each.name) is not each.mended for each in patches.PATCHES)
    with reset_buildout():
        yield tmp_path


def shows(*names: str):
    """Note which patches a test shows to be needed."""
    SHOWN.update(names)
    return lambda test: test


def stock(folder, text="", config="[buildout]\nparts =\n"):
    """Return zc.buildout's own, on a configuration of two parts."""
    (folder / "buildout.cfg").write_text(config + text)
    return buildout.Buildout(str(folder / "buildout.cfg"), [], False)


def dist_of(wheel):
    named = {"project_name": "Shop", "version": "1.0"}
    return easy_install.pkg_resources.Distribution(str(wheel), **named)


def test_patches_are_for_the_pinned_release():
    assert version("zc.buildout").startswith(patches.VERSIONS)


@shows("_move_to_eggs_dir_and_compile")
def test_killed_run_leaves_a_half_made_egg(folder, monkeypatch):
    eggs, wheel = folder / "eggs", make_wheel(folder)
    child = os.fork()
    if not child:
        easy_install.UNPACKERS[".whl"] = lambda *words: os._exit(0)
        easy_install._move_to_eggs_dir_and_compile(dist_of(wheel), str(eggs))
    os.waitpid(child, 0)

    easy_install._move_to_eggs_dir_and_compile(dist_of(wheel), str(eggs))

    assert len([name for name in os.listdir(eggs) if not name.endswith(".egg")]) == 1


@shows("_get_dest_dist_paths")
def test_half_made_egg_is_taken_for_an_installed_one(folder):
    (folder / "tmpabcdef" / "Shop-1.0.dist-info").mkdir(parents=True)

    found = INSTALLER._get_dest_dist_paths(SimpleNamespace(_dest=str(folder)))

    assert found == [str(folder / "tmpabcdef")]


@shows("_fetch")
def test_download_that_is_cut_short_stays_in_the_cache(folder):
    def download(location, place):
        Path(place, "Shop-1.0-py3-none-any.whl").write_text("half")
        raise KeyboardInterrupt

    installer = SimpleNamespace(_index=SimpleNamespace(download=download))

    with pytest.raises(KeyboardInterrupt):
        INSTALLER._fetch(installer, dist_of("/elsewhere/Shop.whl"), str(folder), str(folder))

    assert os.listdir(folder) == ["Shop-1.0-py3-none-any.whl"]


@shows("install")
def test_eggs_that_buildout_installed_are_not_found_offline(folder):
    egg = patches.make_egg(dist_of(make_wheel(folder)), str(folder / "eggs"))

    assert Path(egg.location).is_dir()
    with pytest.raises(buildout.zc.buildout.UserError, match="have a distribution for shop"):
        easy_install.install(["shop"], None, path=[str(folder / "eggs")])


@shows("scan_all", "not_found_in_index")
def test_index_is_asked_for_the_page_of_all_projects_after_a_warning(folder, monkeypatch):
    lines = []
    monkeypatch.setattr(INDEX, "warn", lambda index, *words: lines.append(words))
    with serve_folder(folder) as address:
        index = INDEX(address)

        index.find_packages(Requirement.parse("nowhere"))

    assert index.fetched_urls[index.index_url]
    assert lines == [("Couldn't find index page for %r (maybe misspelled?)", "nowhere")]


@shows("info")
def test_each_page_is_reported(folder, caplog):
    with serve_folder(folder) as address, caplog.at_level(logging.INFO):
        INDEX(address).info("Reading %s", "a page")

    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("INFO", "Reading a page")
    ]


@shows("_install_and_load")
def test_recipe_is_looked_up_for_each_part(monkeypatch):
    looked_up = []
    monkeypatch.setattr(
        buildout.pkg_resources, "load_entry_point", lambda *words: looked_up.append(words)
    )

    for _ in range(2):
        buildout._install_and_load("zc.buildout", "zc.buildout", "default", {"buildout": {}})

    assert len(looked_up) == 2


@shows("_dir_hash")
def test_files_of_an_egg_are_read_for_a_change(folder):
    egg = folder / "shop-1.0-py3.11.egg"
    egg.mkdir()
    found = []
    for text in ("price = 1\n", "price = 2\n"):
        (egg / "shop.py").write_text(text)
        buildout._dir_hashes.clear()
        found.append(buildout._dir_hash(str(egg)))

    assert found[0] != found[1]


@shows("__deepcopy__")
def test_history_of_an_option_is_copied_item_by_item():
    option = buildout.SectionKey("one", "base.cfg")

    assert copy.deepcopy(option).history[0] is not option.history[0]


@shows("parse")
@pytest.mark.filterwarnings("always::ResourceWarning")
def test_file_with_an_error_stays_open(folder):
    def read():
        with pytest.raises(configparser.ParsingError):
            stock(folder, config="[buildout]\nparts\n")

    with pytest.warns(ResourceWarning, match="unclosed file"):
        read()
        gc.collect()


@shows("_open")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_byte_that_is_no_utf_8_is_a_traceback(folder):
    (folder / "buildout.cfg").write_bytes(b"[buildout]\nparts = \xff\n")

    with pytest.raises(UnicodeDecodeError):
        buildout.Buildout(str(folder / "buildout.cfg"), [], False)


@shows("_doing")
def test_current_step_is_printed_before_each_error(capsys):
    def read():
        __doing__ = "Reading."  # noqa: F841
        raise KeyError

    try:
        read()
    except KeyError:
        buildout._doing()

    assert "Reading." in capsys.readouterr().err


@shows("_buildout_default_options")
def test_defaults_stand_in_a_private_table():
    assert buildout._buildout_default_options["eggs-directory"].value == "eggs"


@shows("__init__")
def test_run_fails_if_another_one_makes_a_folder_of_its_caches(folder, monkeypatch):
    make = os.makedirs

    def late(path):
        """Make a folder when another run has made it."""
        subprocess.run(["mkdir", "-p", path], check=True)
        make(path)

    monkeypatch.setattr(os, "makedirs", late)

    with pytest.raises(FileExistsError):
        stock(folder)


@shows("_setup_logging")
def test_nothing_clears_the_line_before_one_is_logged(folder):
    made = stock(folder)

    assert [handler.filters for handler in made._logger.handlers] == [[]]


@shows("_read_installed_part_options")
def test_record_that_is_cut_short_is_believed(folder):
    text = f"[buildout]\nparts = a\n\n[a]\n__buildout_installed__ = {folder}/par"
    (folder / ".installed.cfg").write_text(text)

    sections, _ = stock(folder)._read_installed_part_options()

    assert sections["a"]["__buildout_installed__"] == f"{folder}/par"


@shows("_save_installed_options", "_update_installed")
def test_record_is_written_over_and_grows(folder):
    made, record = stock(folder), folder / ".installed.cfg"
    record.write_text("[buildout]\nparts = a\n")
    before = record.stat().st_ino

    made._save_installed_options({"buildout": {"parts": ""}})
    for _ in range(2):
        made._update_installed(parts="")

    assert record.stat().st_ino == before
    assert record.read_text().count("[buildout]") == 3


@shows("_uninstall")
def test_path_in_a_record_is_deleted_wherever_it_is(folder):
    precious = folder / "var" / "precious"
    precious.mkdir(parents=True)

    stock(folder)._uninstall(str(folder / "var"))

    assert not precious.exists()


@shows("_uninstall_part")
def test_part_that_is_made_anew_is_told_to_be_uninstalled(folder):
    made, output = stock(folder), []
    made._parts = ["a"]
    made._logger = SimpleNamespace(
        info=lambda *words: output.append(words), log=lambda *words: None
    )

    installed = {"recipe": "pylonyard:site", "__buildout_installed__": ""}
    made._uninstall_part("a", {"a": installed})

    assert output == [("Uninstalling %s.", "a")]


@shows("_compute_part_signatures")
def test_signature_of_a_recipe_is_computed_for_each_part(folder, monkeypatch):
    found = []
    monkeypatch.setattr(buildout, "_dists_sig", lambda dists: found.append(dists) or [])
    made = stock(folder)
    made._data.update({name: {"recipe": "zc.buildout"} for name in ("a", "b")})

    made._compute_part_signatures(["a", "b"])

    assert len(found) == 2


@shows("_maybe_upgrade")
def test_newest_has_buildout_look_for_another_of_itself(folder, monkeypatch):
    made, asked = stock(folder, "newest = true\n"), []
    found = easy_install.pkg_resources.WorkingSet([])
    monkeypatch.setattr(easy_install, "install", lambda *words, **_: asked.append(words) or found)

    made._maybe_upgrade()

    assert [words[0][0] for words in asked] == ["zc.buildout"]


@shows("_print_picked_versions")
def test_remarks_stand_between_picked_versions(folder, monkeypatch, capsys):
    monkeypatch.setattr(INSTALLER, "_picked_versions", {"Shop": "1.0"})
    monkeypatch.setattr(INSTALLER, "_required_by", {"Shop": {"App"}})
    made = stock(folder, "show-picked-versions = true\n")

    made._print_picked_versions()

    assert "# Required by:" in capsys.readouterr().out


@shows("safe_extra")
def test_extra_is_unknown_by_another_spelling(folder, monkeypatch):
    info = folder / "Shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Shop\nVersion: 1.0\nProvides-Extra: pg_driver\n"
        'Requires-Dist: Cart; extra == "pg_driver"\n'
    )
    packages = easy_install.pkg_resources

    def required():
        (found,) = packages.find_distributions(str(folder))
        return list(map(str, found.requires(Requirement.parse("shop[PG.driver]").extras)))

    with pytest.raises(packages.UnknownExtra):
        required()
    monkeypatch.setattr(packages, "safe_extra", patches.normalized_extra)
    assert [text.partition(";")[0] for text in required()] == ["Cart"]


def test_each_patch_is_shown_to_be_needed():
    own = inspect.getmembers(buildout.Buildout, inspect.isfunction)
    methods = {name for name, _ in own if name in vars(patches.Buildout)}
    names = {each.name for each in patches.PATCHES} | methods
    assert names | set(patches.IN_THEIR_OWN_WAY) == SHOWN | {"pip._internal"}


@shows("_path", "_env")
def test_an_installer_searches_what_buildout_itself_runs_on(folder):
    installer = INSTALLER(str(folder), path=[])

    assert installer._path == easy_install.buildout_and_setuptools_path != []
    assert list(installer._env)


ELSEWHERE = {
    "zc_installer.py": {"installer._path", "installer._env", "installer._index"},
    "driver.py": {"run._links"},
}
"""Private names that other modules set: rows of the table above, and one that another has."""


def test_no_other_module_replaces_a_private_name_of_zc_buildout():
    found: dict[str, set[str]] = {}
    for path in (CHECKOUT / "recipes").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = [*getattr(node, "targets", ()), getattr(node, "target", None)]
            for target in filter(None, targets):
                for name in ast.walk(target):
                    if is_private(name):
                        found.setdefault(path.name, set()).add(ast.unparse(name))

    assert found.pop("patches.py")
    assert found.pop("gentle.py") == {"server._BaseServer__shutdown_request"}  # Python's own
    assert found == ELSEWHERE


def is_private(node):
    """Return whether a name is a private one of another object."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
        and ast.unparse(node.value) not in ("self", "cls")
    )
