from tg import FullStackApplicationConfigurator

import guestbook
from guestbook import model
from guestbook.controllers import RootController


def make_app(global_conf, **app_conf):
    configurator = FullStackApplicationConfigurator()
    configurator.update_blueprint(
        {
            "package": guestbook,
            "root_controller": RootController(),
            "renderers": ["kajiki", "json"],
            "default_renderer": "kajiki",
            "use_sqlalchemy": True,
            "model": model,
            "session.enabled": True,
            "tm.enabled": True,
            "errorpage.enabled": False,
        }
    )
    return configurator.make_wsgi_app(global_conf, app_conf)
