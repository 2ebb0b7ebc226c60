import pytest
from pylonyard.config.secret_names import masked


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("site:port=80", "site:port=80"),
        ("auth:port=80", "auth:port=80"),
        ("app:api-token=s3cret", "app:api-token=..."),
        ("app:db-url=pg://shop:a/b@c@db/shop", "app:db-url=pg://...@db/shop"),
        ("ini:settings=word = a secret = s3cret", "ini:settings=word = a secret = ..."),
    ],
)
def test_secret_in_an_assignment_is_masked(typed, shown):
    assert masked(typed) == shown
