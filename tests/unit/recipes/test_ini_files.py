import pytest
from support import SHOP_INI
from zc.buildout import UserError

OTHER = "[app:two]\nuse = egg:Shop\nlog = %(here)s/two.log\nsecret = <secret:app_instance_secret>\n"
NAMING = (
    SHOP_INI
    + "[composite:main]\nuse = egg:Paste#urlmap\n/two = config:sub/other.ini#two\n"
    + "[filter:who]\nconfig_file = %(here)s/who.ini\nbare = who.ini\n"
)


@pytest.fixture
def shop(sandbox):
    """Return a function: files beside the template, options of [ini] -> the released texts."""

    def make(written, template=NAMING, **options):
        (sandbox.directory / "shop.ini").write_text(template)
        (sandbox.directory / "sub").mkdir(exist_ok=True)
        for name, text in written.items():
            (sandbox.directory / name).write_text(text)
        given = {f"ini:{name}": value for name, value in options.items()}
        recipe = sandbox.buildout(given)["ini"].recipe
        return {each.path: each.text for each in recipe.artifacts()}

    return make


def test_files_that_an_ini_names_are_released_with_it(shop, sandbox):
    zope = "<zodb>\n  path %(here)s/Data.fs\n  key <secret:app_instance_secret>\n</zodb>\n"
    files = {"sub/other.ini": OTHER, "who.ini": "[general]\na = b\n", "zope.conf": zope}

    texts = shop(files, files="\n".join(files))

    assert set(texts) == {"shop/production.ini", *(f"shop/{name}" for name in files)}
    data = sandbox.directory / "var" / "data" / "shop"
    assert f"log = {data}/two.log" in texts["shop/sub/other.ini"]
    assert f"path {data}/Data.fs" in texts["shop/zope.conf"]
    assert not any("<secret:" in text for text in texts.values())
    # What the ini names stays beside it.
    assert "config_file = %(here)s/who.ini" in texts["shop/production.ini"]
    assert "bare = %(here)s/who.ini" in texts["shop/production.ini"]


def test_a_file_that_is_named_and_not_released_is_refused(shop):
    with pytest.raises(UserError) as caught:
        shop({"sub/other.ini": OTHER, "who.ini": ""})

    said = "files: expected {} among them, which {} names, got none"
    assert str(caught.value) == "[ini] " + "; ".join(
        [
            said.format("sub/other.ini", "[composite:main] /two"),
            said.format("who.ini", "[filter:who] config_file"),
            said.format("who.ini", "[filter:who] bare"),
        ]
    )


def test_a_file_that_another_file_loads_has_to_be_released_too(shop):
    with pytest.raises(UserError, match=r"files: expected sub/third.ini among them, which"):
        files = {"sub/other.ini": "[app:two]\nuse = config:third.ini\n"}
        shop(files, SHOP_INI, files="sub/other.ini")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none.ini", "cannot read {}/none.ini: No such file or directory"),
        ("../up.ini", "expected a path below the folder of the template, without blanks, got '../"),
        ("/abs.ini", "expected a path below the folder of the template, without blanks, got '/a"),
        ("env/x.ini", "expected another name than those of a release's own files, got 'env/x.ini'"),
    ],
)
def test_a_file_that_cannot_be_released_is_refused(shop, sandbox, name, why):
    with pytest.raises(UserError) as caught:
        shop({}, SHOP_INI, files=name)

    assert f"[ini] files: {why.format(sandbox.directory)}" in str(caught.value)


DEBUGGER = "[filter:dbg]\nuse = egg:Paste#evalerror\n"


def test_a_debugger_is_found_however_many_files_lead_to_it(shop, sandbox, tmp_path):
    (tmp_path / "base.ini").write_text(f"[app:main]\nuse = config:{tmp_path}/deep.ini\n")
    (tmp_path / "deep.ini").write_text(f"[app:main]\nfilter-with = dbg\n{DEBUGGER}")
    loading = f"{SHOP_INI}[app:base]\nuse = config:{tmp_path}/base.ini\n"

    shop({}, loading, environment="development")
    with pytest.raises(UserError) as caught:
        shop({}, loading, environment="production")

    assert str(caught.value) == (
        f"[ini] {tmp_path}/deep.ini: [filter:dbg] use: expected no debugger outside development, "
        "got 'egg:Paste#evalerror'"
    )


def test_a_debugger_in_a_released_file_is_found(shop):
    with pytest.raises(UserError, match=r"sub/other.ini: \[filter:dbg\] use: expected no debugger"):
        shop(
            {"sub/other.ini": DEBUGGER},
            NAMING.replace("who.ini", "who"),
            files="sub/other.ini",
            environment="staging",
        )


def test_what_is_loaded_and_cannot_be_read_is_refused_outside_development(shop):
    loading = f"{SHOP_INI}[app:base]\nuse = config:/nowhere/base.ini\n"

    with pytest.raises(UserError, match=r"/nowhere/base.ini: cannot be loaded: No such file"):
        shop({}, loading, environment="production")
