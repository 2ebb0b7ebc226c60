"""The state that the parts of one run of zc.buildout share."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylonyard.config.inputs import Watch
from pylonyard.system.locks import Locks

Digests = Callable[[str], set[str] | None]
"""Returns the allowed SHA-256 of a file name; None if no lock names it."""


@dataclass
class RunState:
    """The state of one run, kept on the zc.buildout object."""

    locks: Locks = field(default_factory=Locks)
    watch: Watch | None = None
    """The record of the run's inputs, if ``bin/buildout`` started it."""
    homes: dict[Any, Path] = field(default_factory=dict)
    """The environment of each application, by its options: sites often share one."""
    built: dict[Any, dict[Path, tuple[Path, bool]]] = field(default_factory=dict)
    """The source trees built for it: folder -> tree, and whether that is used as it stands."""
    linked: dict[str, Path] = field(default_factory=dict)
    """The built trees that other recipes find, by canonical name."""
    released_sections: dict[str, bool] | None = None
    """The sections that a release takes; see :func:`released_sections`."""
    recipes: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    """The loaded recipes, by requirement, group and entry point."""
    locked: dict[Path, Digests] = field(default_factory=dict)
    """The locks of the parts, with which zc.buildout's own downloads have to agree."""

    @classmethod
    def of(cls, buildout: Any) -> "RunState":
        """Return the state of the run of ``buildout``, a zc.buildout."""
        held = getattr(buildout, "__dict__", {})  # a plain mapping carries nothing
        state: RunState = held.setdefault("_pylonyard_state", cls())
        return state

    def note_variables(self, *names: str) -> None:
        """Record environment variables as inputs of the run."""
        if self.watch:
            self.watch.variables.update(names)

    def note_file(self, path: Path, *, written: bool = False) -> None:
        """Record a file whose content is about to be read, or was just written."""
        if self.watch:
            self.watch.note_file(path, written=written)

    def note_paths(self, *values: object) -> None:
        """Record the paths in ``values``: the run may only have checked that they exist."""
        if self.watch:
            self.watch.note_paths(values)


# The sections that a release takes: those that deploy its sites. Other parts are not released:
# programs use its files where buildout has them, in ``parts/``.


FIRST_SITE = "site"
DEFAULT_ROLES = "app ini wsgi vhost init cron"
"""The sections that deploy the section ``[site]``."""


def role_section(site: str, role: str) -> str:
    """Return the section that has a role in deploying a site: a copy, for all but the first."""
    return role if site == FIRST_SITE else f"{site}-{role}"


def released_sections(buildout: Any, first: str) -> dict[str, bool]:
    """Return the sections of the releases of this run, of their sites, and of what deploys them.

    The value tells whether the environment of a section's site is among what is released.
    This reads raw options only: initialising a part here would call this again.

    :param first: the section that is initialised first, which the command line may name
    """
    found: dict[str, bool] = {}
    for name in _reached(buildout, first):
        release = _section(buildout, name)
        if recipe_name(release) != "release":
            continue
        found[name] = False
        for site in release.get("sites", "").split():
            roles = _section(buildout, site).get("roles", DEFAULT_ROLES).split()
            has_app = any(recipe_name(_section(buildout, r)) == "pylons_app" for r in roles)
            found |= dict.fromkeys((site, *(role_section(site, r) for r in roles)), has_app)
    return found


def site_and_role(buildout: Any, section: str) -> tuple[str, str] | None:
    """Return site and role of a section that a further site makes by copying; else None."""
    raw = getattr(buildout, "_raw", {})
    for site in raw:
        role = section.removeprefix(f"{site}-")
        if role == section or role not in raw or site == FIRST_SITE:
            continue
        if recipe_name(resolved(buildout, site)) == "site" and role in roles(buildout, site):
            return site, role
    return None


def own_ini(buildout: Any, section: str) -> str:
    """Return the section of the ini of the site that ``section`` helps to deploy; else empty."""
    site = (site_and_role(buildout, section) or (FIRST_SITE, section))[0]
    ini = role_section(site, "ini")
    if not {ini, site, section} <= getattr(buildout, "_raw", {}).keys():
        return ""
    deploy = {role_section(site, role) for role in roles(buildout, site)}
    return ini if {ini, section} <= deploy else ""


def roles(buildout: Any, site: str) -> list[str]:
    """Return the sections that have a role in deploying a site."""
    return resolved(buildout, site).get("roles", DEFAULT_ROLES).split()


def resolved(buildout: Any, section: str) -> Mapping[str, str]:
    """Return the options of a section, with those that it extends, as they are written."""
    options: Mapping[str, str] = _section(buildout, section)._raw  # type: ignore[attr-defined]
    return options


def copy_of(buildout: Any, site: str, sections: Iterable[str], role: str) -> dict[str, str]:
    """Return the options of the section that has a role in deploying a further site.

    :param sections: all that have a role
    """
    # Imported here: ``buildout.patches`` is the first to import zc.buildout.
    from pylonyard.config.buildout_files import replayed

    names = "|".join(map(re.escape, (FIRST_SITE, *sections)))

    def renamed(match: re.Match[str]) -> str:
        section = match.group(1)
        return "${" + (site if section == FIRST_SITE else role_section(site, section)) + ":"

    options = resolved(buildout, role)
    copy = {key: re.sub(rf"\$\{{({names}):", renamed, value) for key, value in options.items()}
    section = role_section(site, role)
    written, own = buildout._annotated.get(section, {}), buildout._raw.get(section, {})
    return copy | {
        name: replayed(section, key, copy, own[key], written.get(key))
        for key in own
        if (name := key.rstrip(" +-"))
    }


def recipe_name(options: Mapping[str, str]) -> str:
    """Return which of our recipes a section has; empty if it has another, or none."""
    package, _, name = options.get("recipe", "").partition(":")
    is_ours = re.match(r"pylonyard(?![\w.-])", package.strip(), re.IGNORECASE)
    return (name.strip() or "pylons_app") if is_ours else ""


def _section(buildout: Any, name: str) -> Mapping[str, str]:
    """Return the options of a section, of which each is only expanded when it is asked for."""
    # Imported here: ``buildout.patches`` is the first to import zc.buildout.
    from zc.buildout.buildout import Options as Section

    raw = getattr(buildout, "_raw", {}).get(name, {})  # a plain mapping has none
    section = Section(buildout, name, raw)
    options: Mapping[str, str] = Section(buildout, name, section._do_extend_raw(name, raw, []))
    return options


def _reached(buildout: Any, first: str) -> set[str]:
    """Return ``first``, the sections of ``parts``, those that they refer to, and so on."""
    left, found = [first, *buildout["buildout"].get("parts", "").split()], set[str]()
    while left:
        name = left.pop()
        if name not in found and name in getattr(buildout, "_raw", {}):
            found.add(name)
            raw = resolved(buildout, name)
            left += raw.get("<part-dependencies>", "").split()
            left += re.findall(r"\$\{([^:}]+):", "\n".join(raw.values()))
    return found
