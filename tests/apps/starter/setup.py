from setuptools import find_packages, setup

setup(
    name="starter",
    version="0.0",
    packages=find_packages(exclude=["tests"]),
    include_package_data=True,
    package_data={"starter": ["static/*", "templates/*.jinja2"]},
    zip_safe=False,
    install_requires=[
        "plaster_pastedeploy",
        "pyramid",
        "pyramid_jinja2",
        "pyramid_debugtoolbar",
        "waitress",
    ],
    entry_points={"paste.app_factory": ["main = starter:main"]},
)
