"""Recipe ``pylons_app``: an application and all that it needs, in an isolated sandbox.

=============  ========================  =========================================
Option         Type, default             Meaning
=============  ========================  =========================================
name           site name                 Which site it belongs to.
eggs           requirements, one a line  What to install; the application first.
develop        paths, one a line         Source trees to use as they stand, edits
                                         showing at once (development).
sources        paths, one a line         Source trees to build and install as they
                                         are now (staging, production).
extra-paths    paths, one a line         Folders to add to ``sys.path``, last.
find-links     URLs or paths             Where else to look for distributions;
                                         default: ``${buildout:find-links}``.
index          URL                       The package index; default:
                                         ``${buildout:index}``.
scripts        names                     Console scripts wanted; default: all those
                                         of ``eggs``.
interpreter    name, ``python``          The name of the sandbox's interpreter.
=============  ========================  =========================================

Publishes ``home`` (the sandbox in its store), ``env`` (the live link to it),
``python`` and ``paster`` (live scripts), ``application`` (the first egg).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard import eggs, projects, sandboxes, scripts, values
from pylonyard.errors import CommandError, OptionError
from pylonyard.options import option
from pylonyard.recipe import Recipe, site_path
from pylonyard.writing import Artifact, Link


def requirement(text: str) -> str:
    """Keep a requirement as of PEP 508."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(text)
    except InvalidRequirement:
        raise values.refuse("a requirement such as SimpleSite==0.3.0", text) from None
    return text


script_name = values.matching(r"[A-Za-z0-9][A-Za-z0-9._-]*", "the name of a script")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a section of this recipe may say."""

    name: str = option(values.site_name)
    eggs: tuple[str, ...] = option(values.lines(requirement))
    develop: tuple[Path, ...] = option(values.lines(values.path), default="")
    sources: tuple[Path, ...] = option(values.lines(values.path), default="")
    extra_paths: tuple[Path, ...] = option(values.lines(values.path), default="")
    find_links: tuple[str, ...] | None = option(
        values.optional(values.listed(values.text)), default=""
    )
    index: str | None = option(values.optional(values.text), default="")
    scripts: tuple[str, ...] = option(values.listed(script_name), default="")
    interpreter: str = option(script_name, default="python")


class PylonsApp(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Install the eggs and make the sandbox; both stores only ever grow."""
        options = self.settings
        if not options.eggs:
            raise OptionError(self.name, ["eggs: expected at least one requirement, got ''"])
        base = self.buildout["buildout"]
        links = base["find-links"].split() if options.find_links is None else options.find_links
        built = [*self._built(options.develop, True), *self._built(options.sources, False)]
        found = eggs.locations(
            self.buildout,
            self.name,
            options.eggs,
            built,
            links,
            options.index or base.get("index"),
        )
        self.home = sandboxes.make(self.layout.sandboxes, [*found, *options.extra_paths])

    def _built(self, sources: tuple[Path, ...], editable: bool) -> Iterator[Path]:
        for source in sources:
            try:
                yield projects.build(source, self.layout.projects, editable=editable)
            except CommandError as error:
                named = "develop" if editable else "sources"
                raise OptionError(self.name, [f"{named}: {error}"]) from error

    def artifacts(self) -> Iterator[Artifact | Link]:
        site, options = self.settings.name, self.settings
        python = self.home / "bin" / "python"
        yield Link(f"{site}/env", str(self.home))
        yield Artifact(f"{site}/bin/{options.interpreter}", scripts.interpreter(python), 0o755)
        wanted = options.scripts or None
        for name, target in scripts.entry_points(self.home, options.eggs, wanted).items():
            yield Artifact(f"{site}/bin/{name}", scripts.console(python, target), 0o755)

    def published(self) -> Mapping[str, Any]:
        live = site_path(self.layout, self.settings.name, "bin")
        return {
            "home": self.home,
            "env": site_path(self.layout, self.settings.name, "env"),
            "python": live / self.settings.interpreter,
            "paster": live / "paster",
            "application": self.settings.eggs[0],
        }
