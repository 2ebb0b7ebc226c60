#!/usr/bin/env python3
"""Make bin/buildout in this checkout, and run it; see python3 bootstrap.py --help.

In a project that has this checkout in a folder of its own, or uses one that others use as
well, bin/buildout and all that it makes are the project's.
"""

import os
import signal
import sys


def stop(number, frame):
    """End at once on Ctrl-C: nothing has to be cleaned up yet."""
    os.write(2, b"bootstrap: interrupted\n")
    os._exit(130)


before = signal.signal(signal.SIGINT, stop)

import configparser
import contextlib
import functools
import importlib.util
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

CHECKOUT = Path(os.path.realpath(__file__)).parent
RECIPES = CHECKOUT / "recipes"
OLDEST_PYTHON = (3, 10)


def fail(message):
    sys.exit(f"bootstrap: {message}")


if sys.version_info < OLDEST_PYTHON:
    sys.exit(
        "bootstrap: needs Python 3.10 or newer, and this is "
        + sys.version.split()[0]
        + "; run it with another interpreter, such as: python3.11 "
        + sys.argv[0]
    )


sys.path.insert(0, str(RECIPES))
from pylonyard.commands import debian_packages
from pylonyard.config import configuration, layout
from pylonyard.environments import cache_usage, eggs_venv, tools
from pylonyard.packages import interpreters, wheels
from pylonyard.packages.integrity import Verified
from pylonyard.releases import store
from pylonyard.system import accounts, atomic, command_line, errors, locks, progress, subprocesses
from pylonyard.system.errors import interrupted, reason


def project(words):
    """Return the sandbox: the folder of the configuration, if that is outside this checkout.

    zc.buildout puts all that it makes beside its configuration, too.
    """
    named = configuration.named(words)
    if named is None or "://" in named:
        named = configuration.USUAL
    if words[:1] and words[0] in ("test", "docs", "dist"):
        return CHECKOUT
    folder = Path(os.path.realpath(os.path.dirname(named)))
    is_ours = folder.is_relative_to(CHECKOUT) or not (folder / os.path.basename(named)).is_file()
    return CHECKOUT if is_ours else folder


class Cache:
    """The folders of wheels, eggs and environments: in ``cache/``, or in a shared cache."""

    def __init__(self, directory):
        shared = self._configured_folder()
        self.root = shared.get("download-cache", directory / "cache")
        self.dist = self.root / "dist"
        eggs = shared.get("eggs-directory", directory / "cache" / "eggs")
        self.eggs = eggs / "v5" / wheels.abi_tag()
        self.environments = self.root / "sandboxes"

    @staticmethod
    def _configured_folder():
        home = Path(os.environ.get("BUILDOUT_HOME", Path.home() / ".buildout"))
        defaults = configparser.RawConfigParser()
        defaults.read(home / "default.cfg")
        section = dict(defaults["buildout"]) if defaults.has_section("buildout") else {}
        return {
            name: Path(os.path.expanduser(section[name]))
            for name in ("download-cache", "eggs-directory")
            if name in section
        }


def split_by_cache(cache, pins, usable):
    """Return the cached wheel of each pin, and the pins that have none."""
    wheels_by_pin = {}
    for wheel in sorted(cache.dist.glob("*.whl")):
        pin = usable(wheel)
        if pin:
            wheels_by_pin[pin] = wheel
    found, missing = [], []
    for name, version, digests in pins:
        if (name, version) in wheels_by_pin:
            found.append((wheels_by_pin[name, version], digests))
        else:
            missing.append(f"{name}=={version}")
    return found, missing


def cached_pip(cache):
    """Return the wheel of pip that is in the cache, if it is the recorded one."""
    for wheel in sorted(cache.dist.glob("pip-*-py3-none-any.whl")):
        for _, _, digests in tools.requirements(CHECKOUT / "profiles" / "tools.txt"):
            if wheels.sha256(wheel) in digests:
                return wheel
    return None


@contextlib.contextmanager
def pip_command(cache):
    """Yield the command that starts pip: the cached one, or one in a temporary environment.

    The interpreter's own pip is had as everybody has it, from a virtual environment:
    where an interpreter keeps its wheels differs, and is its own affair.
    """
    wheel = cached_pip(cache)
    if wheel:
        yield [sys.executable, f"{wheel}/pip"]
        return
    if not importlib.util.find_spec("ensurepip"):
        fail(debian_packages.no_ensurepip_message())
    with atomic.draft(cache.root) as folder:
        with progress.of("bootstrap: Getting pip"):
            made = subprocess.run(
                [sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True
            )
        if made.returncode:
            reason = [line for line in (made.stdout + made.stderr).splitlines() if line.strip()]
            fail(f"cannot make a virtual environment: {reason[-1] if reason else 'venv failed'}")
        yield [str(folder / "bin" / "python"), "-m", "pip"]


def usable_wheels(pip_wheel):
    """Return a function: wheel -> (name, version), None if not for this Python.

    Without pip, which is one of the tools, none is.
    """
    if not pip_wheel:
        return lambda wheel: None
    sys.path.insert(0, str(pip_wheel))
    try:
        from pip._vendor.packaging.tags import sys_tags
        from pip._vendor.packaging.utils import InvalidWheelFilename, parse_wheel_filename
    finally:
        sys.path.remove(str(pip_wheel))
    supported = set(sys_tags())

    def usable(wheel):
        try:
            name, version, _, tags = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename:
            return None
        return None if supported.isdisjoint(tags) else (name, str(version))

    return usable


def download(cache, lists, pins):
    """Download the wheels of ``pins`` to the cache; by pip, if the index is no ordinary one."""
    # Imported here, since it takes long and usually nothing is missing.
    from pylonyard.packages import downloads

    cache.dist.mkdir(parents=True, exist_ok=True)
    print_line(f"Downloading the tools into {cache.dist}")
    with progress.of("bootstrap: Downloading", len(pins), unit="wheels") as step:
        downloads.download_wheels(pins, cache.dist, lambda name: step.at(step.done + 1, name))
    if split_by_cache(cache, pins, usable_wheels(cached_pip(cache)))[1]:
        download_by_pip(cache, lists)


def download_by_pip(cache, lists):
    command = ["download"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--dest", str(cache.dist)]
    for path in lists:
        command += ["--requirement", str(path)]
    wanted = sum(1 for path in lists for _ in tools.requirements(path))
    with pip_command(cache) as pip:
        status, errors = run_pip_with_progress([*pip, *command], wanted)
    if status:
        reason = [line for line in errors.splitlines() if line.strip()]
        fail(
            f"cannot download the tools: {reason[-1] if reason else 'pip failed'}; "
            "is there a network? With a filled cache, use --offline"
        )


def run_pip_with_progress(command, wanted):
    """Run pip, and show how many distributions it has downloaded; return status and errors."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        progress.of("bootstrap: Downloading", wanted, unit="wheels") as step,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as pip,
    ):
        for line in pip.stdout:
            if line.startswith("Collecting "):
                step.at(step.done + 1, line.split()[1])
        status = pip.wait()
        errors.seek(0)
        return status, errors.read()


def make_tools(cache, lists, offline):
    """Return an environment with every wheel of ``lists``."""
    pins = [pin for path in lists for pin in tools.requirements(path)]
    found, missing = split_by_cache(cache, pins, usable_wheels(cached_pip(cache)))
    if missing and not offline:
        lacking = [(n, v, digests) for n, v, digests in pins if f"{n}=={v}" in missing]
        download(cache, lists, lacking)
        found, missing = split_by_cache(cache, pins, usable_wheels(cached_pip(cache)))
    if missing:
        fail(
            f"not in the cache {cache.dist}: {', '.join(missing)}; "
            f"fetch them where there is a network with: {shlex.join(['python3', sys.argv[0]])}"
        )
    try:
        verified = Verified(cache.root)
        eggs = verified.install_all(dict(found), cache.eggs)
        return eggs_venv.make(cache.environments, eggs)
    except wheels.WheelError as error:
        fail(f"{error}; run this again")


def describe_recipes(python):
    """Write the metadata by which buildout finds the recipes of this checkout."""
    # setuptools writes this file last: after a killed run it is missing, or old.
    info = RECIPES / "pylonyard.egg-info" / "SOURCES.txt"
    source = CHECKOUT / "setup.py"
    if info.exists() and info.stat().st_mtime >= source.stat().st_mtime:
        return
    command = [python, source.name, "-q", "egg_info"]
    # What it says of files that need not be left out is for nobody.
    with progress.of("bootstrap: Describing the recipes"):
        described = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if described.returncode:
        fail(f"cannot describe the recipes: {described.stdout}{described.stderr}")
    os.utime(info)


def write_script(directory, name, home, lists, statements):
    """Write bin/<name> of a sandbox, which also works in a path with spaces.

    It starts without site: code of the tools' environment and eggs runs once it is verified.
    """
    lines = tools.header_of_ours(interpreters.interpreter(), tools.ISOLATED, directory)
    found = import_statements(directory, home, lists)
    text = "\n".join([*lines, *found, *statements, ""])
    path = directory / "bin" / name
    if directory != CHECKOUT and path.exists() and b"pylonyard" not in path.read_bytes():
        fail(f"{path}: expected none, or the one of Pylonyard, got another; move it elsewhere")
    atomic.write(path, text.encode(), 0o755)
    return path


def write_admin_script(directory, home, lists):
    """Write bin/pylonyard, unless a run has: its doctor says why there is no release."""
    folder = directory / "bin"
    if not os.path.lexists(folder / store.ALWAYS):
        write_script(directory, store.ALWAYS, home, lists, store.statements(directory, folder))


def import_statements(directory, home, lists):
    """Return the statements that put the recipes and the tools on ``sys.path``."""
    return [
        *tools.package_statements(RECIPES, directory, layout.IN_BIN),
        *tools.environment_statements(home, *lists),
    ]


def fetch(home, lists, words):
    """Run the process that downloads what ``words`` name to the cache, in place of this one."""
    statements = [
        *tools.ending_early("bootstrap"),
        *import_statements(CHECKOUT, home, lists),
        "tools.load()",
        "from pylonyard.commands.fetch import main",
        f"sys.exit(main({str(home.parent.parent)!r}, sys.argv[1:]))",
    ]
    python = str(interpreters.interpreter())
    os.execv(python, [python, *tools.ISOLATED.split(), "-c", "\n".join(statements), *words])


def remember_configuration(directory, words):
    """Record the configuration that the command line names, so that bin/buildout uses it."""
    named = configuration.named(words)
    if named is None:
        return
    if "://" not in named and not Path(named).is_file():
        fail(f"-c: expected a configuration file, got {named!r}, and there is none")
    configuration.remember(directory, named)


def build_documentation(cache, lists, offline):
    """Build the documentation as HTML, in place of this process; a warning is an error."""
    lists = [*lists, CHECKOUT / "profiles" / "docs.txt"]
    home = make_tools(cache, lists, offline)
    pages = CHECKOUT / "docs"
    built = CHECKOUT / "docs-html"
    words = ["-W", "--keep-going", "-q", "-b", "html", "-d", built / ".doctrees", pages, built]
    statements = [
        *tools.ending_early("bootstrap"),
        *import_statements(CHECKOUT, home, lists),
        "tools.load()",
        "from sphinx.cmd.build import main",
        "from pylonyard.system import progress",
        "with progress.of('bootstrap: Building the documentation'):",
        f"    status = main({[str(word) for word in words]!r})",
        f"print('bootstrap: cannot build the documentation' if status else {str(built)!r}"
        " + '/index.html')",
        "sys.exit(status)",
    ]
    python = str(interpreters.interpreter())
    os.execv(python, [python, *tools.ISOLATED.split(), "-c", "\n".join(statements)])


def build_distributions(cache, lists, offline):
    """Make a source distribution, and from it a wheel, in ``dist``; check both as an index does."""
    python = (
        make_tools(cache, [*lists, CHECKOUT / "profiles" / "dist.txt"], offline) / "bin" / "python"
    )
    folder = CHECKOUT / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    run = functools.partial(subprocess.run, cwd=CHECKOUT, stdin=subprocess.DEVNULL)
    words = [python, "-m", "build", "--no-isolation", "--outdir", folder, CHECKOUT]
    with progress.of("bootstrap: Building the distributions"):
        made = run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        fail(f"cannot build the distributions:\n{made.stdout}")
    files = sorted(folder.iterdir())
    for check in (["twine", "check", "--strict", *files], ["pyroma", "--min", "10", CHECKOUT]):
        with progress.of(f"bootstrap: Checking them with {check[0]}"):
            checked = run([python, "-m", *check])
        if checked.returncode:
            fail(f"what is in {folder} is not fit to be uploaded; see above")
    print_line(f"Made {' and '.join(str(file.relative_to(CHECKOUT)) for file in files)}")


def print_line(message):
    print(f"bootstrap: {message}", flush=True)


def install_debian_packages(offline):
    if not shutil.which("dpkg-query"):
        return
    missing = debian_packages.missing((CHECKOUT / "tests" / "debian-packages.txt").read_text())
    if not missing:
        return
    if os.geteuid() or offline:
        print_line(f"tests that need these Debian packages will be skipped: {', '.join(missing)}")
        return
    print_line(f"Installing the Debian packages {', '.join(missing)}")
    refused = debian_packages.install(missing)
    if refused:
        fail(f"apt-get could not install them: {refused}")


def bootstrap(arguments):
    offline = "--offline" in arguments
    arguments = [a for a in arguments if a != "--offline"]
    directory = project(arguments)
    if why := layout.path_problem(CHECKOUT) or layout.path_problem(directory):
        fail(why)
    os.umask(0o022)  # other accounts have to read what is made here
    subprocesses.use_utf8()
    testing = arguments[:1] == ["test"]
    cache = Cache(directory)
    locks.Locks().share_cache(cache.root)
    lists = [CHECKOUT / "profiles" / "tools.txt"]
    home = make_tools(cache, lists, offline)
    if arguments[:1] == ["fetch"]:
        fetch(home, lists, arguments[1:])
    describe_recipes(home / "bin" / "python")
    buildout = write_script(
        directory,
        "buildout",
        home,
        lists,
        ["from pylonyard.buildout.main import main", f"sys.exit(main({str(directory)!r}))"],
    )
    if arguments[:1] == ["docs"]:
        build_documentation(cache, lists, offline)
    if arguments[:1] == ["dist"]:
        return build_distributions(cache, lists, offline)
    write_admin_script(directory, home, lists)
    if not testing:
        remember_configuration(directory, arguments)
        return os.execv(buildout, [str(buildout), *(["-o"] if offline else []), *arguments])
    install_debian_packages(offline)
    lists.append(CHECKOUT / "profiles" / "tests.txt")
    home = make_tools(cache, lists, offline)
    # Tests have something to clean up.
    heeding = "_signal.signal(2, _signal.default_int_handler)"
    statements = ["tools.load()", "import pytest", heeding, "sys.exit(pytest.main())"]
    test = write_script(directory, "test", home, lists, statements)
    cache_usage.register(CHECKOUT, cache_usage.Stores(cache.root, cache.eggs))
    os.chdir(CHECKOUT)
    return os.execv(test, [str(test), *arguments[1:]])


def check_command_line(arguments):
    """Show help or version, or refuse a command line, before anything is downloaded."""
    parser = command_line.bootstrap()
    words = [word for word in arguments if word != "--offline"]
    if words[:1] == ["test"]:
        if {"-h", "--help"} & set(words):
            parser.parse_args(["test", "--help"])
        return  # the rest are arguments of pytest
    if words[:1] in (["fetch"], ["docs"], ["dist"]):
        parser.parse_args(words)
    elif "--version" in words:
        parser.parse_args(["--version"])
    elif {"-h", "--help"} & set(words):
        parser.print_help()
        sys.exit()
    elif problem := command_line.buildout_error(words, ["test", "fetch", "docs", "dist"]):
        parser.error(problem)


signal.signal(signal.SIGINT, before)

if __name__ == "__main__":
    try:
        check_command_line(sys.argv[1:])
        bootstrap(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(interrupted("bootstrap"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        line = errors.limit_reached(error)
        if isinstance(error, OSError) and error.errno in atomic.UNWRITABLE:
            way = accounts.recovery_advice(error)
            line = f"cannot write {reason(error, CHECKOUT)}{'; ' if way else ''}{way}"
        if not line:
            raise
        fail(line)
