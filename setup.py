import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
REPOSITORY = "https://github.com/pylonyard/pylonyard"
"""Where the repository can be read; CONTRIBUTING.md, "Make a release", says what to check."""

RECIPES = [
    "apache_vhost",
    "cron_restart",
    "init_script",
    "mod_wsgi_build",
    "production_ini",
    "pylons_app",
    "release",
    "site",
]


def entry_point(module: str) -> str:
    return f"{module} = pylonyard.recipes.{module}:{module.title().replace('_', '')}"


def version() -> str:
    """Return the version, which stands where the programs find it too."""
    package = ROOT / "recipes" / "pylonyard" / "__init__.py"
    return re.findall(r'^__version__ = "(.+)"', package.read_text(encoding="utf-8"), re.M)[0]


def long_description() -> str:
    """Return README with links and pictures that work where the repository is not at hand."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\1{REPOSITORY}/raw/main/", text)
    return re.sub(r"((?<!!)\[[^]]*\]\()(?!https?:)", rf"\1{REPOSITORY}/blob/main/", text)


class BuildWithChanges(build_py):
    """Packages that have CHANGES with them."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copy2(ROOT / "CHANGES", Path(self.build_lib, "pylonyard"))


setup(
    name="pylonyard",
    version=version(),
    description="Buildout recipes that put PasteDeploy applications into production",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="The Pylonyard team",
    author_email="pylonyard@users.noreply.github.com",
    url=REPOSITORY,
    project_urls={
        "Documentation": f"{REPOSITORY}/blob/main/docs/index.rst",
        "Changes": f"{REPOSITORY}/blob/main/CHANGES",
        "Issues": f"{REPOSITORY}/issues",
    },
    license_expression="MIT",
    license_files=["LICENSE"],
    keywords=["buildout", "wsgi", "deployment", "PasteDeploy", "Pylons", "Pyramid", "Apache"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: Web Environment",
        "Framework :: Buildout",
        "Framework :: Buildout :: Extension",
        "Framework :: Buildout :: Recipe",
        "Framework :: Pylons",
        "Framework :: Pyramid",
        "Framework :: TurboGears",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: WWW/HTTP :: WSGI",
        "Topic :: System :: Installation/Setup",
        "Typing :: Typed",
    ],
    package_dir={"": "recipes", "pylonyard.docs": "docs", "pylonyard.profiles": "profiles"},
    packages=[*find_packages("recipes"), "pylonyard.docs", "pylonyard.profiles"],
    package_data={
        "pylonyard": ["py.typed"],
        "pylonyard.commands": ["project/*.j2"],
        "pylonyard.docs": ["*.rst", "recipes/*.rst", "pictures/*"],
        "pylonyard.profiles": ["*.cfg", "*.toml", "tools.txt"],
        "pylonyard.recipes": ["*.j2"],
    },
    cmdclass={"build_py": BuildWithChanges},
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=[
        "ConfigUpdater",
        "Jinja2",
        "packaging >= 26.1",
        "pyproject-hooks",
        "resolvelib",
        "zc.buildout >= 6",
    ],
    entry_points={
        "console_scripts": ["pylonyard = pylonyard.commands.main:console"],
        "paste.paster_create_template": ["pylonyard = pylonyard.commands.init:paster_template"],
        "zc.buildout": [
            entry_point("pylons_app").replace("pylons_app", "default", 1),
            *map(entry_point, RECIPES),
        ],
        # What buildout alone would leave: lines in a crontab, a server that nothing can stop.
        "zc.buildout.uninstall": [
            f"{module} = pylonyard.recipes.{module}:uninstall"
            for module in ("apache_vhost", "cron_restart", "init_script")
        ],
        "zc.buildout.extension": ["pylonyard = pylonyard.buildout.main:load"],
    },
)
