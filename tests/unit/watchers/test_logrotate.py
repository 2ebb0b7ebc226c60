import pytest
from pylonyard.watchers.logrotate import logrotate_path


@pytest.mark.parametrize(
    ("text", "spelled"),
    [("/var/log/shop.log", '"/var/log/shop.log"'), ("/srv/a b/é.log", '"/srv/a b/é.log"')],
)
def test_logrotate_path_is_quoted(text, spelled):
    assert logrotate_path(text) == spelled


@pytest.mark.parametrize("character", '"\\*?[]{}')
def test_logrotate_path_with_a_pattern_is_refused(character):
    text = f"/var/log/a{character}b"

    with pytest.raises(ValueError) as caught:
        logrotate_path(text)

    assert str(caught.value) == f"{text!r} has a character that logrotate cannot hold in a path"
