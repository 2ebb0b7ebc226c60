"""Check the rooms of the package: number and length of modules, and imports."""

import ast
import re
import subprocess
import sys

import data_picture
import package_code
import pytest
import rooms_picture
import support
from package_code import FILES, PACKAGE, imports, room_of, statements

MAY_IMPORT = {
    "system": "",
    "config": "system",
    "server": "system",
    "packages": "system config",
    "environments": "system config packages",
    "webservers": "system config packages",
    "watchers": "system config",
    "releases": "system config server webservers watchers",
    "activation": "system config webservers watchers releases",
    "recipes": "system config server packages environments webservers watchers releases",
    "buildout": "system config packages environments releases",
    "commands": "system config server packages environments webservers watchers releases "
    "activation recipes buildout",
}

OF_APACHE = (
    "webservers.apache",
    "recipes.apache_vhost",
    "recipes.mod_wsgi_build",
)
"""Rooms and modules that may name Apache."""

NAME_APACHE = {
    "webservers.registry": "what serves a site of an older release",
    "config.layout": "a message: why the path of a checkout may not have some character",
    "recipes.init_script": "the help of the option mode",
    "recipes.site": "the help of the option mode, and the longest path of a socket of mod_wsgi",
    "server.cli": "a message: how a site in the mode embedded is loaded again",
    "system.active_note": "a message: what a site is called that no web server serves",
}
"""Other modules that name it, and why."""

OF_WATCHERS = ("watchers", "recipes.init_script", "recipes.cron_restart")

NAME_WATCHERS = {
    "activation.apply": "in words: which servers are started again",
    "activation.host.conffiles": "a suffix that no program reads in such a folder",
    "commands.completion": "the command line of bin/<site>-cron",
    "commands.doctor.command": "the name of a check",
    "commands.doctor.machine": "two checks of the doctor",
    "commands.doctor.server": "the words of a check",
    "config.layout": "a message: why the path of a checkout may not have some character",
    "config.run_state": "the sections of a site",
    "environments.tools": "in words: what LSB says of exit statuses",
    "recipes.ini_options": "in words: who moves a log",
    "recipes.site": "the help of the options name and roles",
    "server": "in words: who calls bin/<site>",
    "server.cli": "in words: who calls bin/<site>",
    "server.control": "a message: what may start the site again",
    "system.command_line": "the command line of bin/<site>-cron, and a line of help",
    "system.errors": "in words: what LSB says of exit statuses",
    "system.progress": "in words: who calls it in a session of its own",
    "system.rootfs": "in words: the name of a file, as an example",
    "webservers.apache.machine": "in words: what a script of Debian does not say",
}
"""Other modules that name what starts, watches or tidies up for a site, and why."""

SHIMS = {
    "admin",
    "apache_vhost",
    "buildout_command",
    "cron_restart",
    "crontab",
    "httpd_control",
    "init_script",
    "mod_wsgi_build",
    "production_ini",
    "pylons_app",
    "release",
    "server.gentle",
    "site",
    "toolbox",
}
"""Names of modules that scripts, servers and records from before the rooms still use."""

MOST_MODULES = 135
"""Modules in all rooms; shims and ``__init__.py`` apart.  A web server or watcher adds its own."""

LONGEST_MODULE = 400
LONGEST_CHAIN = 8
"""Modules in the longest allowed chain of imports."""


MODULES = sorted(
    name for name, path in FILES.items() if path.name != "__init__.py" and name not in SHIMS
)


def forbidden() -> set[tuple[str, str]]:
    found = set()
    for name in MODULES:
        room = room_of(name)
        for imported in imports(name):
            other = room_of(imported)
            if other != room and other not in MAY_IMPORT[room].split():
                found.add((name, imported))
    return found


def chain(name: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the longest way down from a module: each imports the next."""
    assert name not in above, f"a circle: {' -> '.join([*above, name])}"
    return _chain(name, above)


_known_chains: dict[str, tuple[str, ...]] = {}


def _chain(name: str, above: tuple[str, ...]) -> tuple[str, ...]:
    if name not in _known_chains:
        below = [chain(each, (*above, name)) for each in sorted(imports(name))]
        _known_chains[name] = (name, *max(below, key=len, default=()))
    return _known_chains[name]


def test_each_room_imports_what_its_line_allows():
    assert forbidden() == set()


def test_no_import_leads_back_to_where_it_came_from():
    longest = max((chain(name) for name in MODULES), key=len)

    assert len(longest) <= LONGEST_CHAIN, " -> ".join(longest)


def test_nothing_but_a_shim_stands_outside_the_rooms():
    # Of a folder that is gone, bytecode may be left.
    entries = {path.relative_to(PACKAGE).parts[0] for path in FILES.values()}
    shims = {f"{name}.py" for name in SHIMS if "." not in name}

    assert entries - shims == {"__init__.py", *MAY_IMPORT}


def test_somebody_new_need_not_open_many_modules():
    assert len(MODULES) <= MOST_MODULES, "unite two that are always read together"


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES.values()} - {PACKAGE}))
def test_a_folder_is_seen_at_a_glance(folder):
    modules = [name for name in MODULES if FILES[name].parent == folder]

    assert len(modules) <= 14, modules


def test_no_module_is_too_long_to_be_read_at_once():
    lengths = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}

    assert {name: n for name, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_a_module_is_tested_in_the_file_of_its_name():
    folder = support.CHECKOUT / "tests" / "unit"
    named = [f"{name.replace('.', '/')}.py" for name in MODULES]
    strays = [
        test
        for path in folder.rglob("test_*.py")
        if (test := str(path.relative_to(folder)).replace("test_", "", 1)) not in named
        and not any(test.startswith(f"{name[:-3]}_") for name in named)
    ]

    assert strays == []


@pytest.mark.parametrize("name", sorted(SHIMS))
def test_nothing_of_ours_imports_a_shim(name):
    assert [each for each in MODULES if name in imports(each)] == []


def test_code_before_the_tools_are_verified_imports_the_standard_library_only():
    bootstrap = ast.parse((support.CHECKOUT / "bootstrap.py").read_text())
    named = [n for n in ast.walk(bootstrap) if isinstance(n, ast.ImportFrom) and n.module]
    lines = [ast.unparse(n) for n in named if n.module.startswith("pylonyard")]
    early = (name for name in MODULES if name.startswith(("system.", "server.")))
    lines += [f"import pylonyard.{name}" for name in early]
    lines += ["import pylonyard.buildout.main, pylonyard.webservers.apache.control"]
    lines += ["import pylonyard.watchers.cron, pylonyard.commands.main"]
    code = "\n".join([f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})", *lines])

    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_room_of_the_machine_needs_the_standard_library_alone():
    named = {
        (alias.name if isinstance(node, ast.Import) else str(node.module)).partition(".")[0]
        for name in MODULES
        if name.startswith(("system.", "server."))
        for node in statements(name)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }

    assert named - set(sys.stdlib_module_names) <= {"pylonyard", "zc"}


def test_another_web_server_would_find_no_more_places_that_know_apache():
    found = {
        name
        for name, path in FILES.items()
        if not name.startswith(OF_APACHE)
        and room_of(name) in MAY_IMPORT
        and re.search("apache|httpd", path.read_text(), re.IGNORECASE)
    }

    assert found == set(NAME_APACHE)


def test_another_watcher_would_find_no_more_places_that_know_the_present_ones():
    found = {
        name
        for name, path in FILES.items()
        if not name.startswith(OF_WATCHERS)
        and room_of(name) in MAY_IMPORT
        and re.search(r"\bcron|\binit\.d\b|\binit.script|update-rc|logrotate", path.read_text())
    }

    assert found == set(NAME_WATCHERS)


DRAW = "run: python3 benchmarks/rooms_picture.py"


def test_the_picture_shows_the_rooms_as_they_are():
    assert rooms_picture.PICTURE.read_text() == rooms_picture.draw(package_code.rooms()), DRAW


def test_the_picture_shows_the_way_of_the_data_as_it_is():
    assert data_picture.PICTURE.read_text() == data_picture.draw(), DRAW


@pytest.mark.parametrize("stage", data_picture.STAGES, ids=lambda stage: stage.function)
def test_each_function_on_the_way_of_the_data_takes_what_the_one_before_it_made(stage):
    assert data_picture.untrue(stage) == ""
