"""The comments of visitors."""

from pyramid.httpexceptions import HTTPNotFound, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config, view_defaults

from simplesite import commentform
from simplesite.forms import TooLongError, posted_form, refused
from simplesite.models import Comment
from simplesite.paging import count_parts
from simplesite.views.pages import (
    MOST_COMMENTS,
    Values,
    count_comments,
    page_values,
    wanted_page,
)

# Nobody types as much: it is not shown again.
LONGEST_FIELD = 10 * commentform.LONGEST_TEXT


@view_config(
    route_name="page_comment",
    request_method="POST",
    renderer="simplesite:templates/page.jinja2",
)
def add_comment(request: Request) -> Values | Response:
    """Add a comment to a page."""
    page = wanted_page(request)
    if not page.comments_open:
        raise HTTPNotFound
    form = posted_form(request, *commentform.FIELDS)
    if any(len(value) > LONGEST_FIELD for value in form.values.values()):
        raise TooLongError
    commentform.check(form)
    if not form.valid:
        refused(request)
        return page_values(request, page, form)
    # A program in the trap is thanked like everybody, so that it learns nothing.
    if not request.POST.get(commentform.TRAP_FIELD):
        request.database.add(commentform.comment_from(form, page.id))
    request.session.flash("Thank you for your comment.")
    parts = count_parts(count_comments(request, page), MOST_COMMENTS)
    query = {"comments": str(parts)} if parts > 1 else None
    return HTTPSeeOther(request.page_path(page.id, anchor="comments", query=query))


@view_config(route_name="page_comment", request_method="GET")
def show_commented_page(request: Request) -> Response:
    """Lead to the page those who ask for the address that only forms are sent to."""
    return HTTPSeeOther(request.page_path(wanted_page(request).id))


@view_defaults(
    route_name="comment_delete", permission="edit", renderer="simplesite:templates/confirm.jinja2"
)
class DeleteComment:
    """The question before a comment is deleted."""

    def __init__(self, request: Request) -> None:
        self.request = request
        comment_id = int(request.matchdict["comment_id"])
        self.comment: Comment | None = request.database.get(Comment, comment_id)

    @view_config(request_method="GET")
    def ask(self) -> Values:
        """Show what would be deleted."""
        comment = self._wanted()
        return {
            "current": comment.page_id,
            "question": f"Delete the comment by {comment.author}?",
            "explanation": "This cannot be undone. The comment says:",
            "items": [comment.text],
            "button": "Delete the comment",
            "way_back": self.request.page_path(comment.page_id, anchor="comments"),
        }

    @view_config(request_method="POST")
    def delete(self) -> Response:
        """Delete the comment."""
        comment = self._wanted()
        self.request.database.delete(comment)
        self.request.session.flash(f"The comment by {comment.author} was deleted.")
        return HTTPSeeOther(self.request.page_path(comment.page_id, anchor="comments"))

    def _wanted(self) -> Comment:
        if self.comment is None:
            raise HTTPNotFound
        return self.comment
