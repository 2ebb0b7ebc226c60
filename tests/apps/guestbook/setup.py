from setuptools import find_packages, setup

setup(
    name="guestbook",
    version="1.0",
    packages=find_packages(),
    include_package_data=True,
    package_data={"guestbook": ["templates/*.xhtml"]},
    install_requires=["TurboGears2 >= 2.5", "Beaker", "kajiki", "SQLAlchemy", "zope.sqlalchemy"],
    entry_points={
        "paste.app_factory": ["main = guestbook.application:make_app"],
        "paste.app_install": ["main = paste.script.appinstall:Installer"],
    },
)
