from pathlib import Path

import pytest
from pylonyard.config import layout


@pytest.mark.parametrize("name", ["a b", "größe", "a$b", "it's", "a:b", "-d", "a;b", "a=b"])
def test_most_paths_will_do(name):
    assert layout.path_problem(Path("/srv") / name) == ""


@pytest.mark.parametrize(
    ("name", "what", "why"),
    [
        ("a\nb", "\n", "no configuration can hold it"),
        ("a\udcffb", "\udcff", "no configuration can hold it"),
        ("a%b", "%", "PasteDeploy reads it as the start of a name"),
        ("a#b", "#", "PasteDeploy takes it for the end of a path"),
        ("a${x}b", "${", "zc.buildout and Apache read it as the start of a name"),
        ("a{b}", "{", "logrotate cannot hold it"),
        ("a*b", "*", "Apache takes it for a pattern"),
        ("a\\b", "\\", "Python and the shell read it as the start of a character"),
    ],
)
def test_character_that_a_file_cannot_hold_is_named(name, what, why):
    path = f"/srv/{name}"

    assert layout.path_problem(Path(path)) == (
        f"the path {path!r} has {what!r}, and {why}; move the folder to another path"
    )
