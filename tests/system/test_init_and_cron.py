"""The init script in the states that the Linux Standard Base names, and a real cron."""

import os
import shutil
import sys

import pytest
from namespaces import run_in_namespace

pytestmark = pytest.mark.system

# Each line that a scenario prints is "<what> <exit status>".
LSB = r"""
init=current/etc/init.d/simplesite
say() { name=$1; shift; code=0; "$@" >/dev/null 2>&1 || code=$?; echo "$name $code"; }
# By our own name for them: the processes of the site, in this namespace only.
ours() { grep -lsE "PYLONYARD_(SERVER|SUPERVISOR)=" /proc/[0-9]*/environ | cut -d/ -f3; }
say status-when-stopped $init status
say stop-when-stopped $init stop
say restart-when-stopped $init restart
say status-when-running $init status
say start-when-running $init start
say force-reload $init force-reload
say try-restart $init try-restart
echo "accounts $(for pid in $(ours); do stat -c %U /proc/$pid; done | sort -u | tr '\n' ' ')"
kill -9 $(ours); sleep 1
say status-when-killed $init status
say ensure-when-killed $init ensure
say status-when-brought-back $init status
# The machine's Pythons, as an upgrade may take them away; in this namespace alone.
pythons() { readlink -e "$PYTHON" /usr/bin/python3* /usr/local/bin/python3* | sort -u; }
for each in $(pythons); do mount --bind /dev/null "$each"; done
say status-without-python $init status
say start-without-python $init start
say stop-without-python $init stop
echo "lines $($init ensure 2>&1 | grep -c 'there is no other Python of at least 3.10')"
echo "still there $(ours | wc -l)"
for each in $(pythons); do umount "$each"; done
say stop-when-running $init stop
say status-after-stop $init status
say ensure-after-stop $init ensure
say status-after-ensure $init status
say reload $init reload
say unknown-action $init reboot
say no-action $init
echo "left $(ours | wc -l)"
"""


def test_the_init_script_answers_as_the_standard_says(public_checkout, free_port):
    site = public_checkout()
    site.bootstrap("-c", "staging.cfg", f"site:port={free_port()}", "site:user=www-data")
    environ = {**site.environ, "PYTHON": sys.executable}

    lines = run_in_namespace(LSB, site.path, environ)

    assert lines == [
        "status-when-stopped 3",
        "stop-when-stopped 0",
        "restart-when-stopped 0",
        "status-when-running 0",
        "start-when-running 0",
        "force-reload 0",
        "try-restart 0",
        "accounts www-data ",
        "status-when-killed 1",
        "ensure-when-killed 0",
        "status-when-brought-back 0",
        "status-without-python 4",
        "start-without-python 5",
        "stop-without-python 5",
        "lines 1",
        "still there 2",
        "stop-when-running 0",
        "status-after-stop 3",
        "ensure-after-stop 0",
        "status-after-ensure 3",
        "reload 3",
        "unknown-action 2",
        "no-action 2",
        "left 0",
    ]


# The machine's folders are covered in this namespace alone.
COVERED = r"""
scratch=$1
mount --bind $scratch/cron.d /etc/cron.d
mount --bind $scratch/init.d /etc/init.d
mount --bind $scratch/crontab /etc/crontab
mount -t tmpfs tmpfs /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
mount -t tmpfs tmpfs /run
"""

CRON = (
    COVERED.replace("$1", "scratch")
    + r"""
answers() { curl -s -o /dev/null --max-time 5 http://127.0.0.1:$PORT/; }
ours() { grep -lsE "PYLONYARD_(SERVER|SUPERVISOR)=" /proc/[0-9]*/environ | cut -d/ -f3; }
within() { for _ in $(seq "$1"); do if answers; then echo "$2"; return; fi; sleep 1; done; }
service simplesite start >/dev/null
cron -f >/dev/null 2>&1 &
kill -9 $(ours); sleep 1
if answers; then echo "still answers"; fi
within 100 "brought back"
service simplesite stop >/dev/null
sleep 75
if answers; then echo "brought back though stopped"; else echo "stays stopped"; fi
"""
)


def test_a_real_cron_brings_a_killed_site_back_and_leaves_a_stopped_one(
    public_checkout, free_port, tmp_path
):
    for program in ("cron", "curl", "service"):
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            pytest.skip(f"lacks {program}")
    site, port = public_checkout(), free_port()
    site.bootstrap(
        "-c", "staging.cfg", f"site:port={port}", "site:user=www-data", "cron:schedule=* * * * *"
    )
    scratch = site.path / "scratch"
    for kind in ("cron.d", "init.d"):
        (scratch / kind).mkdir(parents=True)
        shutil.copy(site.path / "current/etc" / kind / "simplesite", scratch / kind)
    (scratch / "crontab").touch()

    lines = run_in_namespace(CRON, site.path, {**os.environ, **site.environ, "PORT": str(port)})

    assert lines == ["brought back", "stays stopped"]


ALONE = """
[buildout]
parts = cron

[cron]
recipe = pylonyard:cron_restart
name = shop
target = crontab
control = /bin/true
"""

# The lines of other programs, one of which marks them as we do.
CRONTAB = r"""
mount -t tmpfs tmpfs /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
printf '%s\n' 'MAILTO=""' '# BEGIN pylonyard shop2' '@daily true' '# END pylonyard shop2' |
    crontab -
crontab -l > before
bin/shop-cron install
crontab -l > with
diff before with || true
echo '1 1 * * * true' | cat with - | crontab -
bin/buildout buildout:parts= >/dev/null
echo '1 1 * * * true' >> before
crontab -l | cmp before - && echo "exactly ours left"
"""


def test_the_real_crontab_loses_exactly_the_lines_of_a_part_that_goes(public_checkout):
    if not shutil.which("crontab"):
        pytest.skip("lacks crontab")
    site = public_checkout()
    (site.path / "buildout.cfg").write_text(ALONE)
    site.bootstrap()

    lines = run_in_namespace(CRONTAB, site.path, site.environ)

    assert lines == [
        "4a5,7",
        "> # BEGIN pylonyard shop",
        "> */2 * * * * /bin/true ensure",
        "> # END pylonyard shop",
        "exactly ours left",
    ]
