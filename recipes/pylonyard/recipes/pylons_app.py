"""Recipe ``pylons_app``: install the application and all that it needs, in isolation.

For buildout's own interpreter, the environment consists of buildout's eggs. For another
interpreter, it is a virtual environment that pip fills with wheels from the download
cache. Both are isolated from the machine's site-packages, never change, are kept in
``cache/sandboxes`` under a digest of their contents, and look the same to other parts.

The options that zc.recipe.egg has too mean what they mean there.

Publishes ``home`` (the environment in the cache), ``env`` (the live link to it),
``python`` and ``paster`` (live scripts), ``application`` (the first egg).
"""

import dataclasses
import functools
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard.config import converters
from pylonyard.config.converters import requirement
from pylonyard.environments import eggs_venv, locked_venv, pip_venv, pip_versions, scripts
from pylonyard.environments.build_environments import BuildEnvironments
from pylonyard.environments.pip_venv import Contents
from pylonyard.packages import builds, metadata, zc_installer
from pylonyard.packages.index import Places
from pylonyard.packages.interpreters import Interpreter, find
from pylonyard.packages.lock import pylock
from pylonyard.packages.lock.files import Files, LockedEggs
from pylonyard.packages.wheels import WheelError
from pylonyard.packages.zc_installer import Asked
from pylonyard.recipes.base import Recipe, option
from pylonyard.recipes.mod_wsgi_build import module_source
from pylonyard.releases.validators import TESTS_VERSION
from pylonyard.system.atomic import Artifact, Link
from pylonyard.system.errors import CommandError, OptionError, UserError, reason


def test_runner(text: str) -> tuple[str, ...]:
    """Accept a runner of tests, with words for it, quoted as for a shell."""
    words = tuple(shlex.split(text))
    if words and words[0] not in scripts.RUNNERS:
        raise converters.refuse(f"{', '.join(scripts.RUNNERS)}, with words for it", text)
    return words


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    name: str = option(converters.site_name, kind="site name")
    """The site that this part belongs to."""
    eggs: tuple[str, ...] = option(
        converters.lines(requirement), default="", kind="requirements, one a line"
    )
    """What to install, the application first; default: the section's name."""
    develop: tuple[Path, ...] = option(
        converters.lines(converters.path), default="", kind="paths, one a line"
    )
    """Source trees to use as they stand; an edit takes effect at once (development)."""
    sources: tuple[Path, ...] = option(
        converters.lines(converters.path), default="", kind="paths, one a line"
    )
    """Source trees to build and install as they are now (staging, production)."""
    extra_paths: tuple[Path, ...] = option(
        converters.lines(converters.path), default="", kind="paths, one a line"
    )
    """Folders to add to ``sys.path``, last."""
    find_links: tuple[str, ...] | None = option(
        converters.optional(converters.listed(converters.text)), default="", kind="URLs or paths"
    )
    """Where else to look for distributions; default: ``${buildout:find-links}``."""
    index: str | None = option(converters.optional(converters.text), default="", kind="URL")
    """The package index; default: ``${buildout:index}``."""
    from_index: tuple[str, ...] = option(
        converters.listed(converters.text), default="", kind="names, ``*``"
    )
    """What the index is asked for although ``find-links`` has it; default: nothing."""
    scripts: tuple[tuple[str, str], ...] | None = option(
        converters.script_names, default="*", kind="names"
    )
    """The scripts to make, each as ``name`` or ``name=other-name``; ``*`` means all those of
    ``eggs``, and an empty value none."""
    entry_points: tuple[tuple[str, str], ...] = option(
        converters.listed(converters.entry_point), default="", kind="name=module:function"
    )
    """More scripts: what each is to call."""
    dependent_scripts: bool = option(
        converters.boolean, default="false", kind="``true``, ``false``"
    )
    """Whether ``*`` means those of all distributions that ``eggs`` need, too."""
    initialization: str = option(converters.code, default="", kind="Python code")
    """What each script, and the interpreter, runs first."""
    arguments: str = option(converters.code, default="", kind="Python code")
    """The arguments with which each script calls its function."""
    interpreter: str = option(converters.script_name, default="python", kind="name")
    """The name of the environment's interpreter."""
    relative_paths: str = option(
        converters.matching("false", "false, since an environment has absolute paths"),
        default="false",
        kind="``false``",
    )
    """Nothing else: an environment has absolute paths."""
    python: str | None = option(
        converters.optional(converters.text), default="", kind="command or path"
    )
    """The interpreter that runs the application: Python 2.7, or 3.6 and newer; default: buildout's
    own."""
    versions: str | None = option(
        converters.optional(converters.section_name), default="", kind="section name"
    )
    """The pins; default: ``${buildout:versions}``."""
    constraints: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """A file with more pins, as pip has it."""
    provided: tuple[tuple[str, str], ...] = option(
        converters.pairs(converters.version), default="", kind="name = version, a line"
    )
    """Distributions that the standard library has replaced: only their metadata is installed.
    (Another interpreter only.)"""
    without_setup_requires: tuple[str, ...] = option(
        converters.listed(converters.script_name), default="", kind="names"
    )
    """Projects to build without their ``setup_requires``, which no index has any more. (Another
    interpreter only.)"""
    lock: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """The lock file (PEP 751): nothing is installed whose SHA-256 is not in it. If the file is
    missing, nothing is locked yet."""
    tests: tuple[str, ...] = option(test_runner, default="", kind="runner, words")
    """What runs the application's tests: ``pytest``, ``unittest`` or ``zope.testrunner``, with
    words for it. Makes ``bin/<site>-test``."""
    tests_required: bool = option(converters.boolean, default="false", kind="``true``, ``false``")
    """Whether a release goes live only if the tests pass."""
    user: str = option(converters.account, default="", kind="account")
    """The account as which root runs the tests; default: the current one."""


_OF_SCRIPTS: Mapping[str, Any] = {
    "name": "",
    "scripts": None,
    "entry_points": (),
    "dependent_scripts": False,
    "initialization": "",
    "arguments": "",
    "interpreter": "",
    "tests": (),
    "tests_required": False,
    "user": "",
}
"""The options that do not decide about the environment, each with one value."""


class PylonsApp(Recipe):
    declaration = Options
    settings: Options

    def __init__(self, buildout: Any, name: str, options: Any) -> None:
        options.setdefault("eggs", name)  # as for zc.recipe.egg
        super().__init__(buildout, name, options)

    def prepare(self) -> None:
        """Install the eggs and make the environment, unless the cache has it."""
        options = self.settings
        if not options.eggs:
            raise OptionError(self.name, ["eggs: expected at least one requirement, got ''"])
        # Sites of one buildout often share an application, and so its environment.
        shared = dataclasses.replace(options, **_OF_SCRIPTS)
        if shared not in self.state.homes:
            other = self._interpreter()
            if other:
                self.state.homes[shared] = self._other_environment(other)
            else:
                self.state.built[shared] = self._built_trees()
                self.state.homes[shared] = self._own_environment([*self.state.built[shared]])
        self.home = self.state.homes[shared]
        self.built = self.state.built.get(shared, {})
        self._check_code()

    def _check_code(self) -> None:
        """Have the environment's Python read what the configuration puts into scripts."""
        options = self.settings
        given = {"initialization": options.initialization, "arguments": options.arguments}
        for name, code in given.items():
            try:
                if code:
                    text = f"call({code})" if name == "arguments" else code
                    scripts.check(self.home / "bin" / "python", text)
            except CommandError as error:
                problem = f"{name}: expected Python code, got {error.reason}"
                raise OptionError(self.name, [problem]) from error

    def _interpreter(self) -> Interpreter | None:
        """Return the interpreter of the option ``python``; None if it is buildout's own."""
        if not self.settings.python:
            return None
        try:
            found = find(self.settings.python, self.state.note_variables)
        except ValueError as error:
            raise OptionError(self.name, [f"python: {error}"]) from error
        return None if found.runs_us else found

    def _own_environment(self, built: Sequence[Path]) -> Path:
        options = self.settings
        if lock := self._lock():
            developed = zc_installer.developed(self.buildout)
            found = LockedEggs(lock, self._pins(), developed).locations(options.eggs, built)
        else:
            found = zc_installer.locations(
                self.buildout,
                self.name,
                options.eggs,
                built,
                options.find_links or (),
                options.index,
                self._pins() if options.versions else None,
                self._module(),
                Asked(options.constraints, options.from_index, options.versions),
            )
        try:
            places = [*found, *options.extra_paths]
            return eggs_venv.make(self.layout.environments, places, with_data=True)
        except WheelError as error:
            raise OptionError(self.name, [f"{'lock' if lock else 'eggs'}: {error}"]) from error

    def _module(self, interpreter: Interpreter | None = None) -> Callable[[], str | None]:
        """Return a function that finds the source of mod_wsgi for another part, if it needs one."""
        return functools.partial(module_source, self.buildout, self.name, interpreter)

    def _lock(self, interpreter: Interpreter | None = None) -> Files | None:
        """Return the files of the lock, if there is one."""
        options = self.settings
        if options.lock is None or not options.lock.exists():
            return None
        try:
            lock = pylock.read(options.lock)
            lock.expect_for(metadata.environment(interpreter))
        except pylock.LockError as error:
            raise OptionError(self.name, [f"lock: {error}"]) from error
        self.state.locked[options.lock] = lock.digests
        places = Places.of(self.buildout, options.find_links, options.index)
        return Files(
            self.name,
            lock,
            self.layout,
            places,
            interpreter,
            options.without_setup_requires,
            self._module(interpreter),
            self.workshop,
        )

    def _other_environment(self, interpreter: Interpreter) -> Path:
        options = self.settings
        searched = Places.of(self.buildout, options.find_links, options.index)
        lock = self._lock(interpreter)
        contents = Contents(
            interpreter=interpreter,
            requirements=options.eggs,
            pins=self._pins(),
            develop=options.develop,
            sources=options.sources,
            extra_paths=options.extra_paths,
            provided=options.provided,
            without_setup_requires=options.without_setup_requires,
            links=searched.links,
            index=searched.index,
            extra_source=self._module(interpreter),
            locked=lock.lock.summary(metadata.environment(interpreter)) if lock else "",
        )
        if lock:
            return locked_venv.make(self.buildout, lock, contents)
        asked = Asked(options.constraints, options.from_index, options.versions)
        pins = self._pins() if asked.section else None
        chosen = pip_versions.chosen(self.buildout, self.name, contents, pins, asked)
        return pip_venv.make(self.buildout, self.name, chosen)

    def _pins(self) -> dict[str, str]:
        section = self.settings.versions or self.buildout["buildout"]["versions"]
        if self.buildout.get(section) is None:
            if not self.settings.versions:
                return {}  # a buildout of somebody's own need not pin anything
            raise OptionError(self.name, [f"versions: expected a section, got {section!r}"])
        return dict(self.buildout[section])

    def _built_trees(self) -> dict[Path, tuple[Path, bool]]:
        """Build the source trees: folder -> tree, and whether that is used as it stands."""
        develop = {self._built(tree, "develop"): (tree, True) for tree in self.settings.develop}
        return {**develop, **{self._built(t, "sources"): (t, False) for t in self.settings.sources}}

    def _built(self, tree: Path, named: str) -> Path:
        try:
            return builds.build(
                tree, self.layout.projects, editable=named == "develop", workshop=self.workshop
            )
        except (CommandError, WheelError) as error:
            raise OptionError(self.name, [f"{named}: {error}"]) from error

    @functools.cached_property
    def workshop(self) -> builds.Workshop:
        """Where buildout's own Python builds."""
        options, logs = self.settings, self.layout.build_logs
        links, index = options.find_links or (), options.index
        environments = BuildEnvironments(
            self.buildout, self.name, links, index, self._pins(), self._lock
        )
        return builds.Workshop(environments.make, logs)

    def install(self) -> Iterable[str]:
        """Write the files, and links by which other recipes find the source trees."""
        try:
            linked = zc_installer.link_projects(self.buildout, self.built)
        except OSError as error:
            folder = Path(self.buildout["buildout"]["develop-eggs-directory"])
            raise UserError(f"[{self.name}] cannot write {reason(error, folder)}") from error
        return [*super().install(), *map(str, linked)]

    update = install

    def artifacts(self) -> Iterator[Artifact | Link]:
        site, options = self.settings.name, self.settings
        python = self.home / "bin" / "python"
        yield Link(f"{site}/env", str(self.home))
        first = options.initialization
        interpreter = scripts.interpreter(python, first)
        yield Artifact(f"{site}/bin/{options.interpreter}", interpreter, 0o755)
        found = scripts.available(self.home, options.eggs, dependent=options.dependent_scripts)
        found |= dict(options.entry_points)
        unclear = scripts.ambiguous(self.home, options.eggs, dict(options.entry_points))
        for name, source in scripts.chosen(found, options.scripts, unclear):
            if name == options.interpreter:
                raise ValueError(f"interpreter: expected another name than a script's, got {name}")
            text = scripts.text(python, source, first, options.arguments)
            yield Artifact(f"{site}/bin/{name}", text, 0o755)
        if options.tests:
            yield from self._tests()
        elif options.tests_required:
            raise ValueError("tests: expected a runner, since tests-required is true, got ''")
        if options.tests_required and not self.is_released:
            raise ValueError("tests-required: expected false outside a release")

    def _tests(self) -> Iterator[Artifact]:
        """Yield the script that runs the tests, and where it finds them."""
        options = self.settings
        runner, *words = options.tests
        tree = self._application_tree()
        if tree:
            base = self.layout
            made = (base.cache, base.eggs, base.parts, base.releases, base.current, base.var)
            found = scripts.tests_in_tree(runner, tree, made)
        else:
            found = scripts.tests_installed(runner, self.home, Requirement(options.eggs[0]).name)
        content = {
            "version": TESTS_VERSION,
            "user": options.user,
            "command": scripts.test_command(self.home, runner),
            "found": found,
            "words": words,
            "directory": str(tree or ""),
        }
        path = f"{options.name}/tests.json"
        yield Artifact(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        module, names = "pylonyard.releases.validators", "tests_main as main"
        live = repr(str(self.live / path))
        script = scripts.tool_script(self.layout.directory, module, live, names=names)
        yield Artifact(f"bin/{options.name}-test", script, 0o755)
        if options.tests_required:
            yield Artifact(f"{options.name}/tests-required", "\n")

    def _application_tree(self) -> Path | None:
        """Return the source tree of the application, if ``sources`` or ``develop`` names it."""
        wanted = canonicalize_name(Requirement(self.settings.eggs[0]).name)
        named = {metadata.name_of(metadata.described(p)): t for p, (t, _) in self.built.items()}
        if not self.built:  # of another interpreter, if there is any
            trees = (*self.settings.develop, *self.settings.sources)
            named = {canonicalize_name(builds.project_name(self.home, t)): t for t in trees}
        return named.get(wanted)

    def published(self) -> Mapping[str, Any]:
        live = self.live / self.settings.name
        paster = {"paster": live / "bin" / "paster"}
        has_it = any(file.path == f"{self.settings.name}/bin/paster" for file in self.files)
        return {
            "home": self.home,
            "env": live / "env",
            "python": live / "bin" / self.settings.interpreter,
            **(paster if has_it or self.is_released else {}),
            "application": self.settings.eggs[0],
        }
