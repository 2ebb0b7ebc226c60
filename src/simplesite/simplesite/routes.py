"""The addresses of the site."""

from pyramid.config import Configurator

NUMBER = "[0-9]{1,9}"

# The first parts of the addresses below: no page right under the home page can have them.
RESERVED_SLUGS = frozenset(
    ("account", "comments", "healthz", "pages", "sign-in", "sign-out", "static")
)


def includeme(config: Configurator) -> None:
    """Add the routes; that of the pages comes last since it matches everything."""
    config.add_route("healthz", "/healthz")
    config.add_route("sign_in", "/sign-in")
    config.add_route("sign_out", "/sign-out")
    config.add_route("password", "/account/password")
    config.add_route("pages", "/pages")
    config.add_route("page_add", "/pages/add")
    for action in ("edit", "move", "shift", "delete", "comment"):
        config.add_route(f"page_{action}", f"/pages/{{page_id:{NUMBER}}}/{action}")
    config.add_route("comment_delete", f"/comments/{{comment_id:{NUMBER}}}/delete")
    config.add_route("page", "/*slugs")
