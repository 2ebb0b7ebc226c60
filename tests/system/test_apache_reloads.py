"""After a reload nobody is served by the configuration before, however busy Apache is."""

import os
import shutil
import sys

import pytest
from checkouts import ROOT
from namespaces import run_in_namespace

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not shutil.which("a2enmod"), reason="lacks Apache"),
]

# Children that take long to start are what is left of the configuration before.
CONFIG = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/pid
ErrorLog {folder}/error.log
User www-data
Group www-data
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule authz_core_module {modules}/mod_authz_core.so
StartServers 4
ServerLimit 20
ThreadLimit 1000
ThreadsPerChild 1000
MinSpareThreads 4000
MaxSpareThreads 20000
MaxRequestWorkers 20000
"""

# Two reloads, one upon the other: the second comes while the first is being taken up.
RELOADING = """
import http.client, os, pathlib, sys, time
from pylonyard.webservers.apache.machine import MachineApache
from pylonyard.system.rootfs import Tree

root, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
config = root / "etc/apache2/apache2.conf"
text = config.read_text() + "Redirect /some /other\\n" * 20000

def served():
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    location = connection.getresponse().getheader("Location")
    connection.close()
    return location

def reload_as(name):
    config.write_text(f"{text}Redirect / http://{name}/\\n")
    apache.reload()
    late = [found for _ in range(60) if (found := served()) != f"http://{name}/"]
    print(name, "served before:", len(late))

apache = MachineApache(Tree(root))
reload_as("start")
for number in range(10):
    reload_as(f"{number}-first")
    reload_as(f"{number}-second")
    time.sleep(0.3)
"""


def test_pages_after_a_reload_are_those_of_the_new_configuration(tmp_path, free_port):
    folder, port = tmp_path / "etc/apache2", free_port()
    folder.mkdir(parents=True)
    modules = "/usr/lib/apache2/modules"
    text = CONFIG.format(folder=folder, modules=modules, port=port)
    (folder / "apache2.conf").write_text(text)
    settings = f"export APACHE_PID_FILE={folder}/pid APACHE_LOG_DIR={folder}\n"
    (folder / "envvars").write_text(settings)
    (tmp_path / "reloading.py").write_text(RELOADING)
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "recipes")}

    script = f"exec '{sys.executable}' reloading.py '{tmp_path}' {port}"
    lines = run_in_namespace(script, tmp_path, environ)

    assert len(lines) == 21
    assert [line for line in lines if not line.endswith("served before: 0")] == []
