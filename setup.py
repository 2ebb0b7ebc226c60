import re
from pathlib import Path

from setuptools import find_packages, setup

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
    package = Path(__file__).parent / "recipes" / "pylonyard" / "__init__.py"
    return re.findall(r'^__version__ = "(.+)"', package.read_text(encoding="utf-8"), re.M)[0]


setup(
    name="pylonyard",
    version=version(),
    description="Buildout recipes that put PasteDeploy applications into production",
    license="MIT",
    package_dir={"": "recipes"},
    packages=find_packages("recipes"),
    package_data={"pylonyard.recipes": ["*.j2"], "pylonyard.webservers.apache": ["*.j2"]},
    python_requires=">=3.10",
    install_requires=[
        "ConfigUpdater",
        "Jinja2",
        "packaging",
        "pyproject-hooks",
        "zc.buildout >= 6",
        "zc.recipe.egg >= 6",
    ],
    entry_points={"zc.buildout": [entry_point(module) for module in RECIPES]},
)
