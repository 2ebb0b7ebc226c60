import os

import pytest
from pylonyard.server import environment
from pylonyard.system.errors import NOT_PERMITTED, ServerError


def test_root_serves_in_development_with_a_warning(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert environment.expect_no_root("shop", "development") == (
        "warning: runs as root, and so does whoever breaks into it; name an account in its "
        "section, as in user = shop, and run bin/buildout"
    )


@pytest.mark.parametrize("deployment", ["staging", "production"])
def test_root_does_not_serve_elsewhere(monkeypatch, deployment):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(ServerError) as caught:
        environment.expect_no_root("shop", deployment)

    assert (str(caught.value), caught.value.code) == (
        f"expected an account of its own in {deployment}, got root; name an account in its "
        "section, as in user = shop, and run bin/buildout",
        NOT_PERMITTED,
    )


def test_others_serve_without_a_word(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert environment.expect_no_root("shop", "production") == ""

    # What an older Pylonyard released is not refused: a site that serves would be down.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert environment.expect_no_root("shop", "") == ""
