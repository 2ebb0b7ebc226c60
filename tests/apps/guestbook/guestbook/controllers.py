from tg import TGController, expose, redirect, session

from guestbook.model import DBSession, Entry


class RootController(TGController):
    @expose("guestbook.templates.index")
    def index(self):
        session["visits"] = session.get("visits", 0) + 1
        session.save()
        return {"visits": session["visits"], "entries": DBSession.query(Entry).all()}

    @expose("json")
    def entries(self):
        return {"entries": [entry.text for entry in DBSession.query(Entry)]}

    @expose()
    def sign(self, text):
        DBSession.add(Entry(text=text))
        redirect("/")
