"""The book's SimpleSite 0.3.0 on Python 2.7, under the init script, cron's action and Apache."""

import pytest
from interpreters_for_all import need_interpreter
from namespaces import run_in_namespace

pytestmark = pytest.mark.system

SCENARIO = r"""
init=current/etc/init.d/simplesite
page() { curl -s http://127.0.0.1:$APACHE_PORT/ | grep -o '<title>.*</title>'; }
$init start >/dev/null
bin/simplesite-httpd start >/dev/null
page
kill -9 $(grep -lsE "PYLONYARD_(SERVER|SUPERVISOR)=" /proc/[0-9]*/environ | cut -d/ -f3)
sleep 1
code=0; $init status >/dev/null || code=$?; echo "killed $code"
$init ensure >/dev/null
page
$init stop >/dev/null
bin/simplesite-httpd stop >/dev/null
code=0; $init status >/dev/null || code=$?; echo "stopped $code"
"""


def test_it_is_served_by_proxy_and_brought_back(checkout, free_port):
    need_interpreter("python2.7")
    site, apache_port = checkout(), free_port()
    site.bootstrap(
        "-c", "legacy.cfg", f"site:port={free_port()}", f"vhost:httpd-port={apache_port}"
    )

    lines = run_in_namespace(SCENARIO, site.path, {**site.environ, "APACHE_PORT": str(apache_port)})

    served = [line for line in lines if ": warning: runs as root, " not in line]
    assert served == ["<title>Home</title>", "killed 1", "<title>Home</title>", "stopped 3"]
