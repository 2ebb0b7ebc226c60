"""Read names, tags and metadata of distributions, and what source trees say of theirs."""

import ast
import configparser
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import HeaderParser
from functools import cached_property
from importlib.metadata import (
    Distribution,
    DistributionFinder,
    MetadataPathFinder,
    PackageMetadata,
    PathDistribution,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import Path as ZipPath

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, sys_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from pylonyard.system.errors import CommandError, UserError

if TYPE_CHECKING:
    from pylonyard.packages.index import Offer
    from pylonyard.packages.interpreters import Interpreter

SUFFIXES = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2")


@dataclass(frozen=True)
class FileIdentity:
    """A distribution, identified by the name of its file."""

    name: NormalizedName
    version: str
    tags: frozenset[Tag] | None
    """The tags of a wheel; None for a source archive."""


def identified(filename: str) -> FileIdentity | None:
    """Identify a distribution by the name of its file; None if it is no such name."""
    try:
        if filename.endswith(".whl"):
            name, version, _, tags = parse_wheel_filename(filename)
            return FileIdentity(name, str(version), tags)
        name, version = parse_sdist_filename(_POST.sub(r"-\1.post\2.\3", filename))
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return FileIdentity(name, str(version), None)


_POST = re.compile(r"-(\d+(?:\.\d+)+)-(\d+)\.(tar\.gz|zip|tgz|tar\.bz2)$")
"""The version of an old source archive, ``1.0-2``, whose last number PEP 440 takes for a post."""


# Which wheels an interpreter can use, and what markers see of it.


def supported(interpreter: "Interpreter") -> Mapping[Tag, int]:
    """Return the tags of the wheels that an interpreter can use, with their ranks."""
    if interpreter.runs_us:
        return {tag: rank for rank, tag in enumerate(sys_tags())}
    # Python 2.7 counts characters in one of two ways; on Linux it is nearly always "mu".
    abis = ["cp27mu", "cp27m"] if interpreter.series == (2, 7) else None
    name = short_name(interpreter)
    found = [*cpython_tags(interpreter.series, abis), *compatible_tags(interpreter.series, name)]
    return {tag: rank for rank, tag in enumerate(dict.fromkeys(found))}


def short_name(interpreter: "Interpreter") -> str:
    return "cp{}{}".format(*interpreter.series)


def environment(interpreter: "Interpreter | None" = None) -> dict[str, str]:
    """Return the variables of markers, for an interpreter on this machine; by default our own."""
    if interpreter is None:
        return {key: str(value) for key, value in default_environment().items()}
    version = "{}.{}.{}".format(*interpreter.version)
    return {
        **{key: str(value) for key, value in default_environment().items()},
        "python_version": "{}.{}".format(*interpreter.series),
        "python_full_version": version,
        "implementation_version": version,
    }


# What requirements lead to, one distribution after the other, as their metadata says.


class CachedDistribution(PathDistribution):
    """A distribution whose metadata is read only once."""

    @cached_property
    def metadata(self) -> PackageMetadata:
        return super().metadata


def described(place: Path) -> Distribution:
    """Return the metadata of a wheel, or of a folder that one was unpacked to."""
    root = ZipPath(place) if place.is_file() else place
    (info,) = (entry for entry in root.iterdir() if entry.name.endswith(".dist-info"))
    return CachedDistribution(info)


def distributions(search_path: Sequence[str]) -> dict[str, Distribution]:
    """Return the distributions on a search path, by canonical name."""
    context = DistributionFinder.Context(path=list(search_path))
    found = MetadataPathFinder.find_distributions(context)
    # The first on the path is the one that an import finds.
    return {name_of(each): each for each in reversed(list(found))}


def name_of(distribution: Distribution) -> str:
    return canonicalize_name(distribution.metadata["Name"])


def mapped(place: Path) -> Iterator[Path]:
    """Yield the folders from which setuptools' import hook takes the packages of a built tree."""
    for finder in place.glob("__editable__*_finder.py"):
        found = re.search(r"(?m)^MAPPING\b.*?= (\{.*\})$", finder.read_text(encoding="utf-8"))
        for path in ast.literal_eval(found[1]).values() if found else ():
            yield Path(path).parent


def is_editable(distribution: Distribution) -> bool:
    """Return whether a distribution is a source tree as it stands (PEP 610)."""
    origin = distribution.read_text("direct_url.json")
    try:
        return bool(origin and json.loads(origin).get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError, RecursionError) as error:
        where = distribution.locate_file("")
        raise UserError(f"{where}: direct_url.json is damaged: {error}") from error


def is_tree(distribution: Distribution, home: Path) -> bool:
    """Return whether a distribution of an environment is a source tree, such as mr.developer has.

    zc.buildout's ``develop`` leads to the tree itself, whose metadata do not say so.
    """
    place = Path(str(distribution.locate_file(""))).resolve()
    elsewhere = place.suffix != ".egg" and not place.is_relative_to(home.resolve())
    return is_editable(distribution) or (elsewhere and any(place.glob("*.egg-info")))


def follow(
    requirements: Iterable[Requirement],
    get: Callable[[Requirement], Distribution],
    environment: Mapping[str, str],
) -> None:
    """Call ``get`` for each requirement, and for those of what it returns.

    :param environment: what markers are about, as ``python_version``
    """
    waiting = deque(requirements)
    done: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.popleft()
        name = canonicalize_name(wanted.name)
        found = get(wanted)
        for extra in {"", *wanted.extras} - {extra for n, extra in done if n == name}:
            done.add((name, extra))
            waiting.extend(required(found, extra, environment))


def required(
    found: Distribution, extra: str, environment: Mapping[str, str]
) -> Iterator[Requirement]:
    """Yield the requirements of a distribution: in general, or only those for ``extra``."""
    plain, wanted = {**environment, "extra": ""}, {**environment, "extra": extra}
    for text in found.requires or ():
        requirement = lenient(text)
        marker = requirement.marker
        always = marker is None or marker.evaluate(plain)
        if always if not extra else not always and marker and marker.evaluate(wanted):
            yield requirement


def lenient(text: str) -> Requirement:
    """Return a requirement; of any version if its specifier has an outdated form."""
    try:
        return Requirement(text)
    except InvalidRequirement:
        _, separator, marker = text.partition(";")
        named = re.match(r"\s*[A-Za-z0-9._-]+", text)
        if named is None:
            raise
        return Requirement(named[0] + separator + marker)


# What decides whether a file of a distribution is chosen.


class Metadata(NamedTuple):
    """What a distribution says of itself."""

    name: str
    version: str
    requires: tuple[str, ...]
    requires_python: str
    extras: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "Metadata":
        read = HeaderParser().parsestr(text)
        return cls(
            canonicalize_name(read.get("Name", "")),
            read.get("Version", ""),
            tuple(read.get_all("Requires-Dist", [])),
            read.get("Requires-Python", ""),
            frozenset(canonicalize_name(name) for name in read.get_all("Provides-Extra", [])),
        )

    @classmethod
    def of(cls, found: Distribution) -> "Metadata":
        text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
        stated = cls.parse(text)
        # What has no Requires-Dist may have a requires.txt, of an older setuptools.
        return stated._replace(requires=stated.requires or tuple(found.requires or ()))


@dataclass(frozen=True)
class Found:
    """A file of a distribution, or what is given in its place."""

    project: str
    version: Version
    offer: "Offer | None" = None
    rank: tuple[int, tuple[object, ...]] = (0, ())
    """The higher, the better among the files of a version."""
    given: Metadata | None = field(default=None, compare=False)
    """The metadata of what is given: a source tree that was built, an egg that is developed."""


# What a source tree says of its distribution; nothing of it is run.


def pyproject(source: Path) -> dict[str, Any]:
    """Return what the ``pyproject.toml`` of a source tree says; nothing if there is none.

    :raises CommandError: if it is no TOML
    """
    description = source / "pyproject.toml"
    if not description.is_file():
        return {}
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        from pip._vendor import tomli as tomllib  # type: ignore[no-redef]
    with description.open("rb") as stream:
        try:
            return tomllib.load(stream)
        except ValueError as error:
            raise CommandError(f"cannot build {source}", f"pyproject.toml: {error}") from error


def stated(source: Path) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return the name and the entry points of a distribution, as far as its files say them plainly.

    The name is empty if they describe none, but configure some tool.

    :raises UserError: if one of them cannot be read
    """
    project = pyproject(source)
    own, poetry = project.get("project", {}), project.get("tool", {}).get("poetry", {})
    setup, options = _setup_py(source / "setup.py"), configparser.RawConfigParser()
    options.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        options.read(source / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UserError(f"{source / 'setup.cfg'}: {' '.join(str(error).split())}") from error
    name = own.get("name") or poetry.get("name") or setup.get("name")
    name = name or options.get("metadata", "name", fallback="")
    groups = (
        own.get("entry-points"),
        poetry.get("plugins"),
        setup.get("entry_points"),
        dict(options["options.entry_points"]) if "options.entry_points" in options else None,
    )
    where = source / "setup.py"
    if not name and where.exists():
        raise UserError(f"{where}: expected name = 'NAME' in setup(), got none that is plain")
    return str(name), {group: names for each in groups for group, names in _names(each)}


def _setup_py(path: Path) -> dict[str, Any]:
    """Return the plain arguments of ``setup()``."""
    try:
        tree = ast.parse(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setup"):
            for argument in node.keywords:
                with suppress(ValueError):
                    found[str(argument.arg)] = ast.literal_eval(argument.value)
    return found


def _names(groups: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each group of entry points with its names, from any of the forms they have."""
    if isinstance(groups, str):
        read = configparser.RawConfigParser(allow_no_value=True, delimiters=("=",))
        with suppress(configparser.Error):
            read.read_string(groups)
        groups = {name: dict(read[name]) for name in read.sections()}
    for group, listed in (groups or {}).items():
        lines = listed.split("\n") if isinstance(listed, str) else listed
        names = (str(line).partition("=")[0].strip() for line in lines)
        yield group, tuple(filter(None, names))


_GUESSES = (
    ("django", r"DJANGO_SETTINGS_MODULE['\"]\s*[,\]=]\s*=?\s*['\"]([\w.]+)['\"]", False),
    ("flask", r"(?m)^(\w+)\s*=\s*(?:flask\.)?Flask\(", True),
    ("flask", r"(?m)^def (create_app)\(", True),
    ("function", r"(?m)^(?:def )?(application|app)\b\s*(?:=|\(environ)", True),
)


def application(source: Path) -> tuple[str, str]:
    """Return what an application without a factory seems to be, and its object."""
    files = [path for glob in ("*.py", "*/*.py", "src/*/*.py") for path in source.glob(glob)]
    for kind, pattern, is_in_module in _GUESSES:
        for path in sorted(files):
            found = re.search(pattern, path.read_text(errors="replace"))
            if found:
                parts = path.relative_to(source).with_suffix("").parts
                module = ".".join(part for part in parts if part not in ("src", "__init__"))
                return kind, f"{module}:{found[1]}" if is_in_module else found[1]
    return "", ""


def ini_file(folder: Path, source: Path) -> str:
    """Return the ini file of an application, relative to ``folder``: the one for production."""
    found = sorted({*folder.glob("*.ini"), *source.glob("*.ini")})
    has_application = re.compile(r"(?m)^\[(app|composite|pipeline):main\]")
    named = [path for path in found if has_application.search(path.read_text(errors="replace"))]
    named.sort(key=lambda path: (path.name != "production.ini", "dev" in path.name, path.name))
    return os.path.relpath(named[0], folder) if named and "test" not in named[0].name else ""
