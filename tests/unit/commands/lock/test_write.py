import pytest
from pylonyard.commands.lock.write import conditional_requirements
from pylonyard.packages.metadata import described
from support import make_wheel

HERE = {
    "python_version": "3.11",
    "python_full_version": "3.11.2",
    "implementation_version": "3.11.2",
    "sys_platform": "linux",
}


def found(tmp_path, *requirements):
    wheels = (make_wheel(tmp_path, f"Shop{n}", requires=r) for n, r in enumerate(requirements))
    return conditional_requirements(map(described, wheels), HERE)


def test_requirement_of_a_newer_python_is_found_with_its_marker(tmp_path):
    there = found(tmp_path, "legacy-cgi >= 2.6; python_version >= '3.13'")

    assert list(there) == ["legacy-cgi"]
    assert there["legacy-cgi"].marker == "python_version >= '3.13'"
    assert str(there["legacy-cgi"]) == "legacy-cgi (python_version >= '3.13')"


@pytest.mark.parametrize(
    "requirement",
    [
        "always",
        "here; python_version >= '3'",
        "never; python_version < '3'",
        "windows; sys_platform == 'win32'",
        "more; extra == 'testing'",
        "ancient (==dev); python_version >= '3.13'",
    ],
)
def test_other_requirements_are_none(tmp_path, requirement):
    assert found(tmp_path, requirement) == {}


def test_markers_of_several_are_joined(tmp_path):
    there = found(tmp_path, "a; python_version >= '3.13'", "a; python_version < '3.11'")

    assert there["a"].marker == "(python_version >= '3.13') or (python_version < '3.11')"


def test_first_version_that_all_accept_is_taken(tmp_path):
    there = found(tmp_path, "a > 1; python_version >= '3.13'", "a < 3; python_version >= '3.12'")[
        "a"
    ]

    assert there.version_of([("b", "2.0"), ("a", "3.0"), ("a", "2.0"), ("a", "2.5")]) == "2.0"
    assert there.version_of([("a", "1.0")]) is None
