from dataclasses import dataclass

import jinja2
import pytest
from pylonyard.recipes.base import render
from pylonyard.watchers.cron import crontab_command


@dataclass(frozen=True)
class Options:
    schedule: str = "@hourly"
    mailto: str | None = None


def test_template_is_filled_with_fields_and_more():
    text = render(
        "crontab.j2",
        Options(mailto="ops@example.org"),
        crontab_command,
        control="/srv/a b/bin/shop",
    )

    assert text == "MAILTO=ops@example.org\n@hourly '/srv/a b/bin/shop' ensure\n"


def test_line_of_a_condition_leaves_no_trace():
    assert (
        render("crontab.j2", Options(), crontab_command, control="/bin/shop")
        == "@hourly /bin/shop ensure\n"
    )


def test_missing_value_is_an_error_not_a_blank():
    with pytest.raises(jinja2.UndefinedError, match="'control' is undefined"):
        render("crontab.j2", Options(), crontab_command)


def test_value_that_the_syntax_cannot_hold_is_refused():
    with pytest.raises(ValueError) as caught:
        render("crontab.j2", Options(), crontab_command, control="a\nb")

    assert str(caught.value) == (
        "'a\\nb' has a control character, which a shell script of ours cannot hold"
    )


@pytest.mark.parametrize("syntax", ["sh", "ini", "python"])
def test_every_syntax_has_its_filter(syntax):
    from pylonyard.config import converters
    from pylonyard.recipes import base

    assert base._templates(()).filters[syntax] is getattr(converters, syntax)


def test_filter_of_another_syntax_is_passed():
    from pylonyard.recipes import base

    def strange(value):
        return f"<{value}>"

    assert base._templates((strange,)).filters["strange"] is strange
    assert "strange" not in base._templates(()).filters
