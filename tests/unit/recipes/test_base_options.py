from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest
from pylonyard.config import converters
from pylonyard.recipes.base import option, parse
from pylonyard.system.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Options:
    name: str = option()
    port: int = option(converters.port, default="80")
    log_file: Path = option(converters.path, default="var/log")
    extra_paths: tuple[Path, ...] = option(converters.lines(converters.path), default="")


def test_texts_become_typed_values():
    texts = {"name": "shop", "port": "8080", "log-file": "/var/log/shop.log"}

    options = parse(Options, "site", texts)

    assert options == Options(
        name="shop", port=8080, log_file=Path("/var/log/shop.log"), extra_paths=()
    )


def test_default_is_converted_like_a_text():
    assert parse(Options, "site", {"name": "shop"}).port == 80


def test_relative_paths_are_taken_from_the_directory():
    texts = {"name": "shop", "extra-paths": "lib\n/usr/lib/shop"}

    options = parse(Options, "site", texts, Path("/srv/shop"))

    assert options.log_file == Path("/srv/shop/var/log")
    assert options.extra_paths == (Path("/srv/shop/lib"), Path("/usr/lib/shop"))


def test_options_are_frozen():
    options = parse(Options, "site", {"name": "shop"})

    with pytest.raises(FrozenInstanceError):
        options.port = 81


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, "[site] name: required, but missing"),
        (
            {"port": "x", "log-file": ""},
            "[site] name: required, but missing; "
            "port: expected a whole number (a TCP port) from 1 to 65535, got 'x'; "
            "log-file: expected a path without control characters, got ''",
        ),
        (
            {"name": "shop", "ports": "80", "logfile": "x"},
            "[site] logfile: unknown, did you mean log-file?; ports: unknown, did you mean port?",
        ),
        (
            {"name": "shop", "log_file": "x"},
            "[site] log_file: unknown, did you mean log-file?",
        ),
    ],
)
def test_every_problem_is_named_in_one_message(texts, message):
    with pytest.raises(OptionError) as caught:
        parse(Options, "site", texts)

    assert str(caught.value) == message


def test_helpers_of_the_section_are_left_alone():
    texts = {"name": "shop", "recipe": "pylonyard:site", "domain": "example.org", "home": "/x"}

    assert parse(Options, "site", texts).name == "shop"
