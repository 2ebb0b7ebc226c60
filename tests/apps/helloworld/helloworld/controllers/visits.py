from helloworld.lib.base import BaseController, render
from helloworld.model import Visit
from helloworld.model.meta import Session
from pylons import config, session
from pylons import tmpl_context as c


class VisitsController(BaseController):
    def index(self):
        session["mine"] = c.mine = session.get("mine", 0) + 1
        session.save()
        Session.add(Visit())
        Session.commit()
        c.all = Session.query(Visit).count()
        c.debug = config["debug"]
        return render("/visits.mako")
