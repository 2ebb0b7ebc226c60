"""The start content: the pages and the editor a new site has."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from simplesite.models import Editor, Page
from simplesite.passwords import SHORTEST_PASSWORD, generate_password, hash_password
from simplesite.settings import SettingsError


@dataclass(frozen=True)
class StartPage:
    """A page of the start content; its text is the file of its name in ``content``."""

    file: str
    slug: str
    title: str
    summary: str
    comments_open: bool = False
    below: tuple["StartPage", ...] = ()


HOME = StartPage(
    "home",
    "",
    "Welcome",
    "This site is up and running. Its pages are short so far: the rest is yours to write.",
    below=(
        StartPage(
            "about",
            "about",
            "About",
            "What this site is, and how it was put together.",
            below=(
                StartPage(
                    "made",
                    "how-it-is-made",
                    "How it is made",
                    "Small parts that have served well for years, each doing one thing.",
                ),
                StartPage(
                    "privacy",
                    "privacy",
                    "Privacy",
                    "What the site keeps about its visitors, which is little.",
                ),
            ),
        ),
        StartPage(
            "guide",
            "guide",
            "Guide",
            "All an editor needs to know, on three short pages.",
            below=(
                StartPage(
                    "writing",
                    "writing-pages",
                    "Writing pages",
                    "Headings, lists, links and the few signs that make them.",
                ),
                StartPage(
                    "arranging",
                    "arranging-pages",
                    "Arranging pages",
                    "The order of pages, their addresses, and how to move them about.",
                ),
                StartPage(
                    "comments",
                    "comments",
                    "Comments",
                    "Where visitors can have their say, and who keeps order there.",
                    comments_open=True,
                ),
            ),
        ),
        StartPage(
            "contact",
            "contact",
            "Contact",
            "A few words to those who run this site.",
            comments_open=True,
        ),
    ),
)


def add_start_pages(session: Session) -> None:
    """Add the first pages to a site that has none."""
    if session.scalar(select(Page.id).limit(1)) is None:
        _add(session, HOME, None, 1)


def add_first_editor(session: Session, conf: Mapping[str, str]) -> str | None:
    """Add an editor to a site that has none; return what to say about the password."""
    if session.scalar(select(Editor.id).limit(1)) is not None:
        return None
    name = conf.get("simplesite.editor", "").strip() or "editor"
    chosen = _chosen_password(conf)
    password = chosen or generate_password()
    session.add(Editor(name=name, password_hash=hash_password(password)))
    return None if chosen else f"The first editor signs in as {name} / {password}"


def _add(session: Session, start: StartPage, parent_id: int | None, position: int) -> None:
    body = resources.files("simplesite").joinpath(f"content/{start.file}.md")
    page = Page(
        parent_id=parent_id,
        slug=start.slug,
        title=start.title,
        summary=start.summary,
        body=body.read_text(encoding="utf-8").strip(),
        position=position,
        comments_open=start.comments_open,
    )
    session.add(page)
    session.flush()
    for place, below in enumerate(start.below, start=1):
        _add(session, below, page.id, place)


def _chosen_password(conf: Mapping[str, str]) -> str | None:
    """Return the password the configuration gives, if it gives one."""
    password = conf.get("simplesite.editor_password", "")
    file = conf.get("simplesite.editor_password_file", "")
    if file:
        password = _password_in(Path(file))
    if password and len(password) < SHORTEST_PASSWORD:
        raise SettingsError(
            f"the first editor's password must have at least {SHORTEST_PASSWORD} characters"
        )
    return password or None


def _password_in(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"simplesite.editor_password_file cannot be read: {error.strerror}: {file}"
        ) from error
