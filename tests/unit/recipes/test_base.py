from dataclasses import dataclass

import pytest
from pylonyard.config import converters
from pylonyard.recipes.base import Recipe, option, site_path
from pylonyard.system.atomic import Artifact
from pylonyard.system.errors import OptionError
from zc.buildout import UserError


@dataclass(frozen=True, kw_only=True)
class Options:
    port: int = option(converters.port)
    text: str = option(converters.text, default="hello")


class Greeting(Recipe):
    declaration = Options

    def artifacts(self):
        if self.settings.text == "odd":
            raise ValueError("text: expected even, got 'odd'")
        yield Artifact("shop/greeting", f"{self.settings.text} {self.settings.port}\n")

    def published(self):
        return {"path": site_path(self.layout, "shop", "greeting"), "port-doubled": 160}


@pytest.fixture
def greeting(sandbox):
    """Return a function: texts of a section -> the recipe and its section."""

    def make(**texts):
        section = sandbox.buildout({f"greeting:{name}": text for name, text in texts.items()})
        options = section["greeting"]
        return Greeting(section, "greeting", options), options

    return make


def test_section_is_published_as_texts(greeting, sandbox):
    recipe, options = greeting(port="80")

    assert options["path"] == f"{sandbox.directory}/current/shop/greeting"
    assert options["port-doubled"] == "160"
    assert options["location"] == f"{sandbox.directory}/parts/greeting"
    assert recipe.settings == Options(port=80, text="hello")


def test_nothing_is_written_before_install(greeting, sandbox):
    recipe, _ = greeting(port="80")
    location = sandbox.directory / "parts" / "greeting"
    assert not location.exists()

    assert recipe.install() == [str(location)]

    assert (location / "shop" / "greeting").read_text() == "hello 80\n"
    assert recipe.update() == [str(location)]


def test_base_recipe_stages_and_publishes_nothing(sandbox):
    class Nothing(Recipe):
        declaration = dataclass(frozen=True)(type("Options", (), {}))

    buildout = sandbox.buildout({"nothing:x": "y"})
    recipe = Nothing(buildout, "nothing", buildout["nothing"])

    assert (recipe.files, recipe.published()) == ([], {})


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, "[greeting] port: required, but missing"),
        ({"port": "80", "text": "odd"}, "[greeting] text: expected even, got 'odd'"),
    ],
)
def test_bad_section_is_refused_before_anything_is_written(greeting, sandbox, texts, message):
    with pytest.raises(OptionError) as caught:
        greeting(helper="x", **texts)

    assert str(caught.value) == message
    assert not (sandbox.directory / "parts").exists()


def test_folder_that_cannot_be_written_is_one_line(greeting, sandbox):
    recipe, _ = greeting(port="80")
    (sandbox.directory / "parts").write_text("a file")

    with pytest.raises(UserError) as caught:
        recipe.install()

    parts = sandbox.directory / "parts"
    assert str(caught.value) == f"[greeting] cannot write {parts}: File exists"


def test_second_run_in_the_sandbox_is_refused(greeting, sandbox):
    greeting(port="80")

    assert (sandbox.directory / ".pylonyard.lock").exists()
