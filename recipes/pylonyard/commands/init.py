"""Run ``pylonyard init``: write a small project that deploys at once.

``paster create -t pylonyard`` asks the same questions, and writes the same files.
"""

import keyword
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylonyard.config import converters
from pylonyard.config.layout import path_problem
from pylonyard.system.errors import UserError

if TYPE_CHECKING:
    from jinja2 import Environment

FACTORY = "paste.app_factory"
KINDS = ("factory", "pyramid", "flask", "django", "function")

REQUIRES = {
    "flask": ("flask",),
    "django": ("django", "whitenoise"),
    "pyramid": ("plaster_pastedeploy", "pyramid", "waitress"),
}
"""What an example application needs, by its kind."""

TAKEN = frozenset(
    {"django", "flask", "paste", "pylonyard", "pyramid", "setuptools", "six", "waitress", "zc"}
)
"""Modules that a site installs, which an example application cannot be called."""


@dataclass(frozen=True)
class Question:
    """A question; ``pylonyard init`` has an option of its name."""

    name: str
    text: str
    convert: Callable[[str], Any]
    metavar: str

    @property
    def variable(self) -> str:
        return self.name.replace("-", "_")


def wsgi_object(text: str) -> str:
    """Accept ``module:name``, or the name of a module."""
    if not re.fullmatch(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?", text, re.ASCII):
        raise converters.refuse("module:name, such as quill.wsgi:application", text)
    return text


QUESTIONS = (
    Question("name", "name of the site, in its commands and files", converters.site_name, "NAME"),
    Question(
        "application", f"kind of application: {', '.join(KINDS)}", converters.one_of(*KINDS), "KIND"
    ),
    Question("port", "port of its own server, on this machine only", converters.port, "PORT"),
    Question("server-name", "host name in its URL in production", converters.host, "HOST"),
    Question(
        "mode",
        "in production: proxy (its own server, behind a web server) or mod_wsgi",
        converters.one_of("proxy", "mod_wsgi"),
        "MODE",
    ),
    Question(
        "object",
        "WSGI application, as module:name; the settings module of Django",
        wsgi_object,
        "MODULE:NAME",
    ),
)

DEFAULTS = {"port": "8080", "server-name": "www.example.org", "mode": "proxy"}
"""The default of each answer that has nothing to do with what is found."""


@dataclass(frozen=True)
class FoundApp:
    """The application that a folder has."""

    folder: Path
    source: str = ""
    """The folder of its distribution, relative; "" if there is none."""
    distribution: str = ""
    entry_points: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of its entry points, by group."""
    ini: str = ""
    """Its ini file, relative; "" if there is none."""
    kind: str = ""
    """What it seems to be, if it has no factory."""
    object: str = ""

    @property
    def factory(self) -> str:
        """Return the name of its ``paste.app_factory``; "" if it has none."""
        names = self.entry_points.get(FACTORY, ())
        return "main" if "main" in names else next(iter(names), "")

    @property
    def needs_object(self) -> bool:
        return bool(self.source) and not self.factory

    @property
    def questions(self) -> list[Question]:
        return [each for each in QUESTIONS if each.name != "object" or self.needs_object]


def examine(folder: Path) -> FoundApp:
    """Return what a folder has: its distribution, or nothing.

    :raises UserError: if it has an application that cannot be installed, or is no folder
    """
    # Imported here: its tools are at hand by now.
    from pylonyard.packages import metadata

    if problem := path_problem(folder.absolute()):
        raise UserError(problem)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder, got a file; name another one")
    for source in filter(Path.is_dir, [folder, *sorted(folder.glob("src/*"))]):
        name, points = metadata.stated(source)
        if name:
            relative = os.path.relpath(source, folder)
            kind, target = metadata.application(source)
            ini = metadata.ini_file(folder, source)
            return FoundApp(folder, relative, name, points, ini, kind, target)
    if stray := sorted(folder.glob("*.py")):
        raise UserError(
            f"{folder}: expected setup.py or pyproject.toml that installs {stray[0].name}, got "
            "neither; write one, or name another folder"
        )
    return FoundApp(folder)


Answers = dict[str, str]
"""The text of each answer, by the name of its question."""


def default(question: Question, found: FoundApp) -> str:
    """Return the default of an answer; it may be one that is refused."""
    if question.name == "name":
        named = found.distribution or found.folder.absolute().name
        return re.sub(r"[\s._]+", "-", named.lower())
    kind = "factory" if found.factory else found.kind or "function"
    return {**DEFAULTS, "application": kind, "object": found.object}[question.name]


def _problem(question: Question, text: str, found: FoundApp) -> str:
    """Return why an answer is refused, or ""."""
    try:
        question.convert(text)
    except ValueError as error:
        return str(error)
    package = text.replace("-", "_")
    if question.name == "name" and not found.source:
        what = "a keyword of Python" if keyword.iskeyword(package) else "the name of a module"
        if keyword.iskeyword(package) or package in sys.stdlib_module_names | TAKEN:
            return f"expected a name that its module can have, got {text!r}, which is {what}"
    if question.name == "application" and text == "factory" and not found.factory:
        return (
            f"expected {', '.join(KINDS[1:-1])} or {KINDS[-1]}, since there is no distribution "
            f"with an entry point {FACTORY}, got {text!r}"
        )
    return ""


def check_answers(
    found: FoundApp,
    given: Mapping[str, str | None],
    ask: Callable[[str, str], str] | None,
    option: str = "--{0.name} {0.metavar}",
) -> Answers:
    """Return all answers: those given, or else those of a person, or else the defaults.

    :param ask: asks a question, with its default; None if nobody is there
    :param option: how a question is answered in advance
    :raises UserError: if an answer is refused, or one without a default is missing
    """
    answers: Answers = {}
    for question in found.questions:
        text, usual = given.get(question.name) or "", default(question, found)
        offered = "" if _problem(question, usual, found) else usual
        while not text and ask:
            text = ask(question.text, offered)
            if problem := _problem(question, text, found):
                print(f"{question.name}: {problem}")
                text = ""
        text = text or usual
        if problem := _problem(question, text, found):
            more = f"; answer with: {option.format(question)}" if text == usual else ""
            raise UserError(f"{question.name}: {problem}{more}")
        answers[question.name] = text
    return answers


def files(found: FoundApp, answers: Answers) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file of a project."""
    name, kind = answers["name"], answers["application"]
    server_name = answers["server-name"]
    is_host = re.search("[A-Za-z]", server_name) and ":" not in server_name
    values: dict[str, Any] = {
        "name": name,
        "kind": "factory" if found.factory else kind,
        "port": int(answers["port"]),
        "server_name": server_name,
        "staging_name": f"staging.{server_name.removeprefix('www.')}" if is_host else server_name,
        "mode": answers["mode"],
        "is_secret": not found.factory and kind in ("flask", "django"),
        "is_example": not found.source,
        **_application(found, answers),
    }
    for path, template in (
        ("buildout.cfg", "buildout.cfg"),
        ("staging.cfg", "staging.cfg"),
        ("production.cfg", "production.cfg"),
        ("versions.cfg", "versions.cfg"),
        (".gitignore", "gitignore"),
        ("README.md", "README.md"),
        (".ci/run", "ci"),
        *([(values["template"], "application.ini")] if values["template"] != found.ini else []),
        *_sources(found, kind, values),
    ):
        yield path, _templates().get_template(f"{template}.j2").render(values)


def _application(found: FoundApp, answers: Answers) -> dict[str, Any]:
    """Return what the templates say about the application."""
    name, kind = answers["name"], answers["application"]
    distribution, package = found.distribution or name, name.replace("-", "_")
    has_installer = bool(found.factory) and "paste.app_install" in found.entry_points
    template = found.ini or ("" if has_installer else f"{name}.ini")
    sources, requires = [found.source or "."], REQUIRES.get(kind, ())
    module, _, called = answers.get("object", "").partition(":")
    if found.needs_object:
        sources.append("deploy")
        requires = (distribution,)
        distribution, package = f"{distribution}-deploy", f"{package}_deploy"
        template = f"{name}.ini"
    return {
        "eggs": distribution,
        "distribution": distribution,
        "package": package,
        "sources": sources,
        "template": template,
        "factory": found.factory or "main",
        "requires": ", ".join(f'"{each}"' for each in requires),
        "target": f"{package}.deploy:main" if kind == "django" else f"{package}:main",
        "is_package": kind == "django" or (kind == "pyramid" and not found.source),
        "is_wrapper": found.needs_object,
        "module": module,
        "called": called or {"flask": "app", "pyramid": "main"}.get(kind, "application"),
        "settings": module if found.needs_object else f"{package}.settings",
    }


def _sources(found: FoundApp, kind: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield path and template of each source file: of an example, or of an entry point."""
    if found.factory:
        return
    folder = "deploy/" if found.needs_object else ""
    yield f"{folder}setup.py", "setup.py"
    package = f"{folder}{values['package']}"
    if kind == "django":
        named = ["__init__", "deploy", "websetup", *([] if found.source else ["settings", "urls"])]
        yield from ((f"{package}/{name}.py", f"django_{name.strip('_')}.py") for name in named)
    elif kind == "pyramid" and not found.source:
        yield f"{package}/__init__.py", "pyramid.py"
    else:
        yield f"{package}.py", "wrapper.py" if found.source else f"{kind}.py"


@cache
def _templates() -> "Environment":
    # Imported here: no other action needs it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("project")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write(
    found: FoundApp, answers: Answers, say: Callable[[str], object], *, only_show: bool = False
) -> None:
    """Write the missing files of a project; report each one.

    :raises OSError: if one cannot be written
    """
    for name, text in files(found, answers):
        path = found.folder / name
        if os.path.lexists(path):
            say(f"  kept  {name}: it is there already{_advice(path, text)}")
            continue
        if not only_show:
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x": a file that somebody has made in the meantime stays, too.
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
                os.fchmod(stream.fileno(), 0o755 if text.startswith("#!") else 0o644)
        say(f"  made  {name}")


def _advice(path: Path, text: str) -> str:
    """Return what is missing in a file that is kept, if that is known."""
    try:
        there = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    if path.name == ".gitignore":
        has = {line.strip().strip("/") for line in there}
        missing = [line for line in text.split() if line.strip("/") not in has]
        return f"; add to it: {' '.join(missing)}" if missing else ""
    if path.name == "buildout.cfg" and not any("pylonyard" in line for line in there):
        return f"; unite this with it:\n\n{textwrap.indent(text, ' ' * 8)}"
    return ""


def next_steps(found: FoundApp, answers: Answers) -> Iterable[str]:
    """Return what to type next."""
    folder, name = found.folder, answers["name"]
    yield "Next:" if folder.resolve() == Path.cwd() else f"Next, in {folder}:"
    yield "  python3 -m venv env\n  env/bin/pip install zc.buildout pylonyard\n  env/bin/buildout"
    yield f"  bin/{name} start   serves it at http://127.0.0.1:{answers['port']}/"


def command(
    folder: Path, given: Mapping[str, str | None], say: Callable[[str], object], *, asks: bool
) -> None:
    """Make a project: ask, write, and say what to type next.

    :param given: the answers that the command line has, by the names of the questions
    :param asks: whether somebody is there to answer
    """
    found = examine(folder)
    answers = check_answers(found, given, _ask if asks else None)
    say(f"The project {answers['name']}, in {folder.absolute()}:")
    write(found, answers, say)
    for line in next_steps(found, answers):
        say(line)


ENDED = "expected an answer, got the end of the input; use {} to accept the defaults"


def _ask(text: str, usual: str) -> str:
    shown = f" [{usual}]" if usual else ""
    try:
        return input(f"{text[0].upper()}{text[1:]}{shown}: ").strip() or usual
    except EOFError:
        raise UserError(ENDED.format("--yes")) from None


def paster_template(name: str) -> Any:
    """Return the template of ``paster create -t pylonyard``.

    PasteScript is imported here: only paster calls this, and has it.
    """
    from paste.script.command import BadCommand
    from paste.script.templates import Template, var

    class Project(Template):
        summary = "A project that zc.buildout deploys with Pylonyard"
        vars = [var(each.variable, each.text) for each in QUESTIONS]  # noqa: RUF012

        def check_vars(self, given: dict[str, Any], paster: Any) -> Any:
            """Ask PasteScript's way, with the defaults of the folder."""
            try:
                self.found = examine(Path(paster.options.output_dir, given["project"]))
                self._read_vars = [
                    var(each.variable, each.text, default(each, self.found))
                    for each in self.found.questions
                ]
                found = super().check_vars(given, paster)
                texts = {each.name: found.get(each.variable) for each in QUESTIONS}
                self.answers = check_answers(self.found, texts, None, "{0.variable}={0.metavar}")
            except UserError as error:
                raise BadCommand(str(error)) from error
            except EOFError as error:
                raise BadCommand(ENDED.format("--no-interactive")) from error
            return found

        def run(self, paster: Any, folder: str, given: dict[str, Any]) -> None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            write(self.found, self.answers, print, only_show=paster.options.simulate)
            print(*next_steps(self.found, self.answers), sep="\n")

    return Project(name)
