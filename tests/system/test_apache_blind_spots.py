"""Our checks find the holes that the real ``apache2 -t`` accepts."""

import json
import os
import shutil
import subprocess

import pytest
from pylonyard.system.subprocesses import PROGRAM_PATH
from pylonyard.webservers.apache.config_lint import problems

pytestmark = pytest.mark.system

HEAD = """\
ServerRoot {folder}
ServerName localhost
PidFile {folder}/pid
ErrorLog {folder}/log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule wsgi_module {wsgi}
Listen 127.0.0.1:8080
"""
HOST = "<VirtualHost *:8080>\nServerName {}\n</VirtualHost>\n"
SPOTS = {
    "an open proxy": ("ProxyRequests On", "makes an open proxy"),
    "an open proxy, told with a tab": ("ProxyRequests\tOn", "makes an open proxy"),
    "a WSGI script that is missing": (
        "WSGIScriptAlias / /missing.wsgi",
        "/missing.wsgi is missing",
    ),
    "an imported script that is missing": (
        "WSGIImportScript /missing.wsgi process-group=%{GLOBAL} application-group=%{GLOBAL}",
        "/missing.wsgi is missing",
    ),
    "a python-home that is missing": (
        "WSGIDaemonProcess shop user=nobody python-home=/missing",
        "the python-home /missing is missing",
    ),
    "a process group that nobody defines": (
        "<Location /shop>\nWSGIProcessGroup shop\n</Location>",
        "process group shop has no WSGIDaemonProcess",
    ),
    "a script's group that nobody defines": (
        "WSGIScriptAlias / /etc/hostname process-group=shop",
        "process group shop has no WSGIDaemonProcess",
    ),
    "two hosts of one name": (HOST.format("a") + HOST.format("A"), "is served by line"),
    "all files of the machine as pages": ('Alias "/" "/"', "Alias / serves all of /"),
    "all files of the machine granted": (
        '<Directory "/">\nRequire all granted\n</Directory>',
        "opens every file of the machine",
    ),
    "a variable that nobody defines": (
        'Alias "/x" "/srv/${NOBODY_DEFINES_IT}"',
        "${NOBODY_DEFINES_IT} is not defined",
    ),
    "a NUL that hides the rest": ("Alias /x /y\0 and nonsense", "a NUL"),
}


def test_every_blind_spot_is_ours_to_see(public_checkout, tmp_path):
    if not shutil.which("apache2", path=PROGRAM_PATH):
        pytest.skip("lacks apache2")
    site = public_checkout()
    site.bootstrap("-c", "staging.cfg", "site:mode=mod_wsgi", "site:user=www-data")
    wsgi = json.loads((site.path / "current/simplesite/site.json").read_text())["module"]
    head = HEAD.format(folder=tmp_path, modules="/usr/lib/apache2/modules", wsgi=wsgi)
    config, passed, named = tmp_path / "httpd.conf", [], []
    for spot, (text, problem) in SPOTS.items():
        config.write_text(f"{head}{text}\n")
        judged = subprocess.run(
            ["apache2", "-t", "-f", config],
            env={"PATH": PROGRAM_PATH, "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
        )
        passed += [spot] if judged.returncode == 0 else [f"{spot}: {judged.stderr}"]
        found = problems(text)
        named += [spot] if len(found) == 1 and problem in found[0] else [f"{spot}: {found}"]
    output = len(set(named) & SPOTS.keys())
    print(f"\napache2 -t: {len(SPOTS)} blind spots, {output} named by our checks")

    assert passed == list(SPOTS), "no blind spots of Apache any more"
    assert named == list(SPOTS)
