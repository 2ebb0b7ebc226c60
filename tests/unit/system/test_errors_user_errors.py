import ast
import builtins

from pylonyard.system.errors import (
    ActivationError,
    ArtifactError,
    CommandError,
    OptionError,
    PylonyardError,
    ServerError,
)
from support import CHECKOUT

BUILT_IN = {
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}


def test_option_error_names_the_section_and_all_problems():
    error = OptionError("ini", ["port: required, but missing", "user: no"])

    assert str(error) == "[ini] port: required, but missing; user: no"
    assert (error.section, error.problems) == ("ini", ("port: required, but missing", "user: no"))


def test_command_error_says_what_failed_why_and_what_to_do():
    error = CommandError("cannot build it", "no compiler", "install one")

    assert str(error) == "cannot build it: no compiler; install one"
    assert (error.what, error.reason, error.advice) == (
        "cannot build it",
        "no compiler",
        "install one",
    )
    assert str(CommandError("cannot build it", "no compiler")) == "cannot build it: no compiler"


def test_artifact_error_names_the_file_and_its_validator():
    error = ArtifactError("init", "etc/init.d/shop", "sh", "line 3: syntax error")

    assert str(error) == "[init] etc/init.d/shop: refused by sh: line 3: syntax error"
    assert (error.section, error.path) == ("init", "etc/init.d/shop")
    assert (error.validator, error.reason) == ("sh", "line 3: syntax error")


def test_all_errors_of_ours_have_one_root():
    kinds = (OptionError, CommandError, ArtifactError, ServerError, ActivationError)
    assert all(issubclass(kind, PylonyardError) for kind in kinds)
    rootless = {
        node.name
        for path in (CHECKOUT / "recipes").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base) for base in node.bases} & BUILT_IN
        and not any(ast.unparse(base).endswith("PylonyardError") for base in node.bases)
    }

    assert rootless == {"PylonyardError"}
