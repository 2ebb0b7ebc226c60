import pytest
from pylonyard.config.ini import Ini, applications, main_section


@pytest.mark.parametrize(
    ("text", "wanted", "section"),
    [
        ("[app:main]\n", None, "app:main"),
        ("[app]\n[app:b]\n", None, "app"),
        ("[app:a]\n[app:main]\n[app:b]\n", None, "app:main"),
        ("[server:main]\n[app:shop]\n", None, "app:shop"),
        ("[app:a]\n[app:b]\n", "app:b", "app:b"),
        ("[composite:main]\n[app:a]\n[app:b]\n", None, "composite:main"),
        ("[composite:main]\n[app:a]\n", "app:a", "app:a"),
        ("[app:a]\n[app:b]\n[pipeline:main]\n", None, "pipeline:main"),
        ("[app:a]\n[filter-app: main]\n", None, "filter-app: main"),
    ],
)
def test_what_pastedeploy_calls_main_is_served(text, wanted, section):
    assert main_section(Ini(text), wanted) == section


@pytest.mark.parametrize(
    ("text", "wanted", "message"),
    [
        ("", None, "section: expected the application's section, as the ini has none"),
        (
            "[app:a]\n[app:b]\n",
            None,
            "section: expected the application's section, as the ini has app:a, app:b",
        ),
        ("[app:main]\n", "app:x", "section: expected a section of the ini, got 'app:x'"),
    ],
)
def test_section_that_cannot_be_told_is_asked_for(text, wanted, message):
    with pytest.raises(ValueError) as caught:
        main_section(Ini(text), wanted)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[app:main]\nuse = egg:Shop\n", [("app:main",)]),
        ("[app:main]\nuse = config:base.ini\n", [("app:main",)]),
        ("[app:main]\nuse = shop\n[app:shop]\nuse = egg:Shop\n", [("app:main", "app:shop")]),
        ("[app:main]\nuse = main\n", [("app:main",)]),
        (
            "[composite:main]\nuse = egg:Paste#urlmap\n/ = a\n/b = config:b.ini\n/c = c\n"
            "[pipeline:a]\npipeline = f x\n[app:x]\n[filter:f]\n"
            "[filter-app:c]\nuse = egg:F\nnext = x\n",
            [("app:x",)],
        ),
        ("[composite:main]\n/ = a b\n[app:a]\n[app:b]\n", [("app:a",), ("app:b",)]),
    ],
)
def test_applications_are_found_as_pastedeploy_finds_them(text, found):
    config = Ini(text)

    assert applications(config, main_section(config, None)) == found
