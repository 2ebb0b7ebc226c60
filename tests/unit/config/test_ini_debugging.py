import pytest
from pylonyard.config.ini import Ini, debug_problems

NO_DEBUG = "expected false outside development, got"
NO_DEBUGGER = "expected no debugger outside development, got"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[DEFAULT]\ndebug = true", f"[DEFAULT] debug: {NO_DEBUG} 'true'"),
        ("[app:main]\nset debug = Yes", f"[app:main] set debug: {NO_DEBUG} 'Yes'"),
        ("[app:main]\ndebug = on", f"[app:main] debug: {NO_DEBUG} 'on'"),
        ("[app:main]\ndebug = 1", f"[app:main] debug: {NO_DEBUG} '1'"),
        # Python 2 takes what follows for a comment.
        ("[app:main]\ndebug = true ; really", f"[app:main] debug: {NO_DEBUG} 'true ; really'"),
        (
            "[app:main]\npyramid.debug_all = true",
            f"[app:main] pyramid.debug_all: {NO_DEBUG} 'true'",
        ),
        (
            "[DEFAULT]\ntrace_errors.enable = t",
            f"[DEFAULT] trace_errors.enable: {NO_DEBUG} 't'",
        ),
        (
            "[filter:x]\nuse = egg:Paste#evalerror",
            f"[filter:x] use: {NO_DEBUGGER} 'egg:Paste#evalerror'",
        ),
        ("[x]\nuse = egg:WebError#evalerror", f"[x] use: {NO_DEBUGGER} 'egg:WebError#evalerror'"),
        ("[x]\nuse = egg:paste#printdebug", f"[x] use: {NO_DEBUGGER} 'egg:paste#printdebug'"),
        (
            "[pipeline:main]\npipeline = egg:Paste#evalerror app",
            f"[pipeline:main] pipeline: {NO_DEBUGGER} 'egg:Paste#evalerror'",
        ),
        (
            "[app:main]\npyramid.includes =\n    pyramid_tm\n    pyramid_debugtoolbar",
            f"[app:main] pyramid.includes: {NO_DEBUGGER} 'pyramid_debugtoolbar'",
        ),
        (
            "[app:main]\npyramid.includes = pyramid_debugtoolbar.panels",
            f"[app:main] pyramid.includes: {NO_DEBUGGER} 'pyramid_debugtoolbar.panels'",
        ),
        (
            "[filter:x]\npaste.filter_app_factory = paste.evalexception:EvalException",
            f"[filter:x] paste.filter_app_factory: {NO_DEBUGGER} "
            "'paste.evalexception:EvalException'",
        ),
    ],
)
def test_debugger_is_found(text, problem):
    assert debug_problems(Ini(text)) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        "[DEFAULT]\ndebug = false",
        "[DEFAULT]\ndebug =",
        "[app:main]\nset debug = %(debug)s",
        "[app:main]\nuse = egg:Shop\npyramid.includes = pyramid_tm",
        "[app:main]\ntitle = How to debug",
        "[logger_root]\nlevel = DEBUG",
        "[filter:x]\nuse = egg:Paste#error_catcher",
        "# debug = true\n[app:main]\nuse = egg:Shop",
        "[app:main]\ndebugger = true",
    ],
)
def test_setting_that_is_no_debugger_is_left_alone(text):
    assert debug_problems(Ini(text)) == []


def test_all_debuggers_are_reported_at_once():
    text = "[DEFAULT]\ndebug = true\n[filter:x]\nuse = egg:Paste#evalerror\n"

    assert len(debug_problems(Ini(text))) == 2
