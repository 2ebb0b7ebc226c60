from importlib.metadata import distributions
from pathlib import Path

import pytest
from pylonyard.packages import zc_installer
from pylonyard.system import relocation
from pylonyard.system.errors import OptionError
from support import make_wheel, write_wheel


@pytest.fixture
def locate(sandbox):
    """Return a function: requirements -> names of the eggs, got by a real buildout."""

    def find(*requirements, projects=(), links=None, versions=None, **options):
        buildout = sandbox.buildout({f"buildout:{n}": v for n, v in options.items()})
        links = [str(sandbox.store / "wheels")] if links is None else links
        return zc_installer.locations(
            buildout, "app", requirements, projects, links, None, versions
        )

    return find


def names(locations):
    return [path.name.partition("-")[0] for path in locations]


def test_working_set_has_what_the_requirements_need(locate, sandbox):
    found = locate("Shop")

    assert names(found) == ["Shop", "Shop_Loader"]
    assert all(path.parent == sandbox.store / "eggs" / "v5" for path in found)


def test_order_does_not_depend_on_what_was_there_before(locate, tmp_path):
    first = locate("Shop", **{"eggs-directory": str(tmp_path / "eggs")})
    second = locate("Shop", **{"eggs-directory": str(tmp_path / "eggs")})

    assert names(first) == names(second) == ["Shop", "Shop_Loader"]


def test_pins_decide_the_version(locate, tmp_path):
    for version in ("1.0", "2.0"):
        make_wheel(tmp_path, "Blog", version)
    links = [str(tmp_path)]

    assert locate("Blog", links=links)[0].name.startswith("Blog-2.0-")
    assert locate("Blog", links=links, versions={"Blog": "1.0"})[0].name.startswith("Blog-1.0-")


def test_project_of_the_checkout_is_preferred_to_an_egg(locate, tmp_path):
    project = tmp_path / "shop-built"
    info = project / "Shop-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Shop\nVersion: 1.0\n")

    assert locate("Shop", projects=[project]) == [project]


def built(store, name="Shop", version="1.0", files=()):
    """Return the folder of a source tree as a build leaves it."""
    place = store / f"{name.lower()}-{version}"
    info = place / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for path, text in dict(files).items():
        (place / path).write_text(text)
    return place


def test_a_link_to_what_was_built_before_is_not_followed(locate, sandbox):
    old = built(sandbox.store / "cache" / "projects", version="9")
    developed = sandbox.directory / "develop-eggs"
    developed.mkdir()
    (developed / "shop.pylonyard.egg-link").write_text(f"{old}\n.")

    assert names(locate("Shop")) == ["Shop", "Shop_Loader"]


def test_order_does_not_depend_on_the_link_to_a_project(locate, sandbox):
    project = built(sandbox.store / "cache" / "projects", "Ours")
    first = locate("Shop", "Ours", projects=[project])
    zc_installer.link_projects(sandbox.buildout({}), {project: (project, False)})

    assert locate("Shop", "Ours", projects=[project]) == first
    assert first[-1] == project


FINDER = "MAPPING: dict[str, str] = {'shop': '/tree/lib/shop', 'other': '/tree/other'}\n"


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        ({"__editable__.shop.pth": "/tree/src\n"}, ["/tree/src"]),
        (
            {"x.pth": "import __editable___x_finder\n", "__editable___x_finder.py": FINDER},
            ["/tree", "/tree/lib"],
        ),
        ({"x.pth": "import somebody\n"}, ["/tree"]),
    ],
)
def test_other_recipes_are_told_where_the_code_of_a_tree_is(sandbox, tmp_path, files, folders):
    buildout = sandbox.buildout({})
    place = built(tmp_path / "store", "Tree", "2", files)

    made = zc_installer.link_projects(buildout, {place: (Path("/tree"), True)})

    link, folder = made
    assert link.read_text() == f"{folder}\n."
    assert (folder / "pylonyard.pth").read_text().splitlines() == folders
    (found,) = distributions(path=[str(folder)])
    assert '"url": "file:///tree"' in found.read_text("direct_url.json")
    assert [str(path) for path in found.files] == ["pylonyard.pth"]


def test_what_somebody_else_developed_stays_what_other_recipes_find(sandbox, caplog):
    buildout, store = sandbox.buildout({}), sandbox.store / "cache" / "projects"
    developed = sandbox.directory / "develop-eggs"
    built(developed, "Theirs", "1")
    (developed / "theirs-1" / "Theirs-1.dist-info").rename(developed / "Theirs-1.dist-info")
    (developed / "Linked.egg-link").write_text("/theirs\n.")
    places = [built(store, "Theirs", "2"), built(store, "linked", "2"), built(store, "Ours", "2")]

    made = zc_installer.link_projects(buildout, dict.fromkeys(places, (Path("/tree"), False)))
    again = zc_installer.link_projects(
        buildout, {built(store, "ours", "3"): (Path("/tree"), False)}
    )

    assert made == [developed / "ours.pylonyard.egg-link"]
    assert made[0].read_text() == f"{places[2]}\n."
    assert again == []
    assert caplog.messages == [f"ours is built in several ways; other recipes find {places[2]}."]


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        (
            "Missing",
            "[app] eggs: cannot get Missing: it is not in {0}/cache/dist, {0}/wheels, nor is "
            "there a page of it in the index {0}/index",
        ),
        (
            "Shop ==9",
            "[app] eggs: cannot get Shop==9: there is only Shop 1.0; find-links has it, so no "
            "index is asked: from-index = Shop has it asked",
        ),
    ],
)
def test_egg_that_cannot_be_had_is_one_line(locate, sandbox, requirement, message):
    with pytest.raises(OptionError) as caught:
        locate(requirement)

    assert str(caught.value) == message.format(sandbox.store)


def test_pin_that_contradicts_a_requirement_is_one_line(locate):
    with pytest.raises(OptionError) as caught:
        locate("Shop ==1.0", versions={"Shop": "2.0"})

    assert str(caught.value) == (
        "[app] eggs: cannot get Shop==2.0 ([versions] Shop = 2.0): there is only Shop 1.0; "
        "find-links has it, so no index is asked: from-index = Shop has it asked"
    )


def test_damaged_wheel_is_one_line(locate, tmp_path):
    info = "Bad-1.0.dist-info"
    wheel = write_wheel(tmp_path / "Bad-1.0-py3-none-any.whl", {f"{info}/METADATA": "x"}, info)
    wheel.write_bytes(wheel.read_bytes().replace(b"sha256=", b"sha256=A"))

    with pytest.raises(OptionError, match=r"\[app\] eggs: .*damaged: .* move it elsewhere"):
        locate("Bad", links=[str(tmp_path)])


def test_offline_takes_what_the_cache_has(locate, sandbox, tmp_path):
    dist = tmp_path / "cache" / "dist"
    dist.mkdir(parents=True)
    make_wheel(dist, "Blog", "1.0")
    options = {"offline": "true", "download-cache": str(tmp_path / "cache")}

    assert names(locate("Blog", links=["http://nowhere.invalid/"], **options)) == ["Blog"]


def test_offline_all_that_the_cache_lacks_is_named_with_the_command(locate, sandbox, tmp_path):
    dist = tmp_path / "cache" / "dist"
    dist.mkdir(parents=True)
    make_wheel(dist, "Blog", "1.0", requires="Feed>=2")
    options = {"offline": "true", "download-cache": str(tmp_path / "cache"), "find-links": ""}
    pins = {"Feed": "2.1", "Parser": "0.3", "Blog": "1.0"}

    with pytest.raises(OptionError) as caught:
        locate("Blog", "Loose<3", links=[], versions=pins, **options)

    assert str(caught.value) == (
        f"[app] eggs: not in the cache {dist}: Loose<3, Feed==2.1 (and perhaps parser==0.3); "
        f"fetch what is missing where there is a network with: python3 {relocation.OURS} "
        f"fetch --cache {tmp_path}/cache --index {sandbox.store}/index 'Loose<3' Feed==2.1 "
        "parser==0.3"
    )
