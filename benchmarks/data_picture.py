"""Draw the way of the data, from ``buildout.cfg`` to ``/etc``, from the code.

``rooms_picture.py`` writes it.  ``STAGES`` has the functions on the way, and what each takes
and makes; where they are, what they do, and who uses them is read from the code.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape

from fresh_checkout import ROOT
from package_code import FILES, imports, tree

PICTURE = ROOT / "docs" / "pictures" / "data.svg"

ANY = "a class that the caller names"

Definition = ast.FunctionDef | ast.ClassDef

FILES_OF_PARTS, DRAFT, RELEASE = "parts/<part>/", "releases/.draft-*/", "releases/<n>/"
PLACES = {
    "buildout.cfg": "and the files that it extends",
    "[section]": "its options, as text",
    FILES_OF_PARTS: "the files of each part",
    DRAFT: "a draft, which nobody uses yet",
    RELEASE: "immutable; the link current leads to it",
    "/etc": "the machine's own files",
}


@dataclass(frozen=True)
class Stage:
    """A function on the way: the command that calls it, what it takes and what it makes.

    What is taken and made is a class, or one of ``PLACES``.
    """

    command: str
    takes: str
    function: str
    makes: str


BUILD, ACTIVATE = "bin/buildout", "sudo bin/pylonyard activate"

STAGES = (
    Stage(BUILD, "buildout.cfg", "config.buildout_files.Files.opened", "[section]"),
    Stage(BUILD, "[section]", "recipes.base.parse", "recipes.apache_vhost.Options"),
    Stage(
        BUILD,
        "recipes.apache_vhost.Options",
        "recipes.apache_vhost.ApacheVhost.artifacts",
        "system.atomic.Artifact",
    ),
    Stage(BUILD, "system.atomic.Artifact", "system.atomic.stage", FILES_OF_PARTS),
    Stage(BUILD, FILES_OF_PARTS, "releases.store.Staged.collected", "releases.store.Staged"),
    Stage(BUILD, "releases.store.Staged", "releases.store.Staged.copy_to", DRAFT),
    Stage(BUILD, DRAFT, "releases.validators.validate", DRAFT),
    Stage(BUILD, DRAFT, "releases.store.Releases.publish", RELEASE),
    Stage(ACTIVATE, RELEASE, "releases.contents.read", "releases.contents.Release"),
    Stage(ACTIVATE, "releases.contents.Release", "activation.plan.plan", "activation.plan.Plan"),
    Stage(
        ACTIVATE,
        "activation.plan.Plan",
        "activation.apply.StepRunner.apply_all",
        "activation.steps.Lay",
    ),
    Stage(ACTIVATE, "activation.steps.Lay", "system.rootfs.Tree.put", "/etc"),
)


# What the code says.


@cache
def find(dotted: str) -> tuple[str, tuple[Definition, ...]]:
    """Return the module of a name, and the definitions that lead to it, the outermost first."""
    parts = dotted.split(".")
    module = next(".".join(parts[:n]) for n in range(len(parts), 0, -1) if is_module(parts[:n]))
    found: list[Definition] = []
    scope: ast.Module | Definition = tree(module)
    for name in dotted.removeprefix(f"{module}.").split("."):
        inner = {
            each.name: each
            for each in scope.body
            if isinstance(each, ast.FunctionDef | ast.ClassDef)
        }
        if name not in inner:
            raise ValueError(f"STAGES: {dotted}: there is no {name}; what is it called now?")
        scope = inner[name]
        found.append(scope)
    return module, tuple(found)


def is_module(parts: list[str]) -> bool:
    return ".".join(parts) in FILES


def is_place(data: str) -> bool:
    return data in PLACES


def sentence(definition: Definition) -> str:
    """Return the first line of a docstring, without its markup."""
    return (ast.get_docstring(definition) or "").partition("\n")[0].replace("``", "")


def words(*nodes: ast.AST | None) -> set[str]:
    """Return the names in annotations, those in quotes among them."""
    found = set()
    for node in filter(None, nodes):
        for each in ast.walk(node):
            if isinstance(each, ast.Name | ast.Attribute):
                found.add(each.id if isinstance(each, ast.Name) else each.attr)
            elif isinstance(each, ast.Constant) and isinstance(each.value, str):
                found |= words(ast.parse(each.value, mode="eval"))
    return found


@cache
def aliases() -> dict[str, set[str]]:
    """Return what each name stands for that is a union of classes, or any class."""
    return {
        node.targets[0].id: {ANY} if is_any_class(node.value) else words(node.value)
        for name in FILES
        for node in tree(name).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if is_union(node.value) or is_any_class(node.value)
    }


def is_union(node: ast.expr) -> bool:
    names = isinstance(node, ast.BinOp) and isinstance(node.left, ast.Name | ast.BinOp)
    return names and isinstance(node.op, ast.BitOr)  # type: ignore[attr-defined]


def is_any_class(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "TypeVar"


def spelled_out(names: set[str]) -> set[str]:
    """Return names with those that they stand for, and those that these stand for."""
    more = names.union(*(aliases().get(name, ()) for name in names))
    return more if more == names else spelled_out(more)


def fields(definition: Definition) -> set[str]:
    """Return the classes of the fields of a class."""
    return words(*(each.annotation for each in definition.body if isinstance(each, ast.AnnAssign)))


def taken(function: str) -> set[str]:
    """Return the classes of what a function gets, the fields of its own class among it."""
    *classes, itself = find(function)[1]
    assert isinstance(itself, ast.FunctionDef)
    arguments = itself.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    own = {each.name for each in classes}.union(*map(fields, classes))
    return spelled_out(own | words(*(each.annotation for each in every)))


def made(function: str) -> set[str]:
    itself = find(function)[1][-1]
    assert isinstance(itself, ast.FunctionDef)
    return spelled_out(words(itself.returns))


def users(function: str) -> list[str]:
    """Return the modules that use a function: by its name, or as an attribute."""
    module, found = find(function)
    if len(found) > 1 and any(base == "Recipe" for base in words(*getattr(found[0], "bases", ()))):
        # A method of a recipe: the base of all of them calls it.
        module = "recipes.base"
    near = [each for each in FILES if module in {each, *imports(each)} or names(each, found)]
    return [each for each in near if any(is_use(n, module, found) for n in nodes(each))]


def names(module: str, found: tuple[Definition, ...]) -> bool:
    """Return whether a module names a class; it may know it from an annotation alone."""
    text = FILES[module].read_text(encoding="utf-8")
    return len(found) > 1 and re.search(rf"\b{found[0].name}\b", text) is not None


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(module)))


def is_use(node: ast.AST, module: str, found: tuple[Definition, ...]) -> bool:
    name = found[-1].name
    if isinstance(node, ast.Name):
        return len(found) == 1 and node.id == name
    if not (isinstance(node, ast.Attribute) and node.attr == name):
        return False
    of_module = isinstance(node.value, ast.Name) and node.value.id == module.rpartition(".")[2]
    return of_module or len(found) > 1


def untrue(stage: Stage) -> str:
    """Return what a stage says that the code does not; empty if all of it is so."""
    takes, makes = (data.rpartition(".")[2] for data in (stage.takes, stage.makes))
    known = taken(stage.function)
    if not is_place(stage.takes):
        _, (*_, itself) = find(stage.takes)
        if not known & ({takes} | fields(itself)):
            return f"{stage.function} takes no {takes}, and nothing that it has"
    if not is_place(stage.makes) and not {makes, ANY} & (made(stage.function) | known):
        return f"{stage.function} makes no {makes}"
    if not users(stage.function):
        return f"nothing uses {stage.function}"
    return ""


# The picture: a column for each command.

WIDTH, GAP, MARGIN = 436, 28, 16
BOX_WIDTH, BOX, STEP, LINE, LETTERS = 420, 42, 70, 14, 68
STYLE = """
text { font: 11px sans-serif; fill: #57606a }
.name { font: bold 13px sans-serif; fill: #1b1f24 }
.command { font: bold 14px monospace; fill: #1b1f24 }
rect { fill: #eef3f9; stroke: #34608f; stroke-width: 1.2 }
.files { fill: #fdf3dd; stroke: #9a6700 }
.ground { fill: #ffffff; stroke: none }
line { stroke: #34608f; stroke-width: 1.6; marker-end: url(#head) }
"""
HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0 L8 4 L0 8 Z" fill="#34608f"/></marker>'
)


def draw() -> str:
    """Return the picture, as SVG."""
    columns = [[s for s in STAGES if s.command == command] for command in (BUILD, ACTIVATE)]
    width = 2 * MARGIN + len(columns) * (WIDTH + GAP) - GAP
    height = 2 * MARGIN + 30 + max(map(len, columns)) * (BOX + STEP) + BOX
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        "<title>The way of the data, from buildout.cfg to /etc</title>",
        f"<style>{STYLE}</style><defs>{HEAD}</defs>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
    ]
    for index, stages in enumerate(columns):
        lines += column(stages, MARGIN + index * (WIDTH + GAP))
    return "\n".join([*lines, "</svg>", ""])


def column(stages: list[Stage], x: int) -> Iterator[str]:
    """Yield what a command does with the data, from top to bottom."""
    yield text(x, MARGIN + 14, stages[0].command, "command")
    y = MARGIN + 30
    yield from box(stages[0].takes, x, y)
    for stage in stages:
        y += BOX
        yield f'<line x1="{x + 20}" y1="{y + 2}" x2="{x + 20}" y2="{y + STEP - 2}"/>'
        yield from described(stage, x + 36, y + 18)
        y += STEP
        yield from box(stage.makes, x, y)


def box(data: str, x: int, y: int) -> Iterator[str]:
    """Yield a box: yellow for files, blue for an object in memory, with its class."""
    kind = ' class="files"' if is_place(data) else ""
    yield f'<rect{kind} x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX}" rx="6"/>'
    if is_place(data):
        yield text(x + 12, y + 18, data, "name")
        yield text(x + 12, y + 33, PLACES[data])
        return
    module, found = find(data)
    yield text(x + 12, y + 18, f"{found[-1].name}  in {file_of(module)}", "name")
    yield text(x + 12, y + 33, shortened(sentence(found[-1])))


def described(stage: Stage, x: int, y: int) -> Iterator[str]:
    """Yield the lines beside an arrow: the function, what it does, and who uses it."""
    module, found = find(stage.function)
    name = ".".join(each.name for each in found)
    callers = [file_of(each) for each in users(stage.function)]
    yield text(x, y, f"{name}  in {file_of(module)}", "name")
    yield text(x, y + 1 * LINE + 1, shortened(sentence(found[-1]) or inherited(found[-1].name)))
    yield text(x, y + 2 * LINE + 1, shortened(f"used by {', '.join(callers)}"))


def inherited(method: str) -> str:
    """Return what a method of all recipes is for."""
    return sentence(find(f"recipes.base.Recipe.{method}")[1][-1])


def file_of(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


def shortened(line: str, letters: int = LETTERS) -> str:
    return textwrap.shorten(line, letters, placeholder=" …")


def text(x: int, y: int, line: str, kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text{of_kind} x="{x}" y="{y}">{escape(line)}</text>'
