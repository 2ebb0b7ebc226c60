"""What the tests do in a namespace stays there, wherever the tests themselves run."""

import shlex

import pytest
from namespaces import UNSHARE, entering, run_in_namespace

pytestmark = pytest.mark.system

# A root of its own, as debootstrap's in a chroot, and in that a namespace of a test.
IN_A_CHROOT = """
mount --rbind / {root}
mount -t tmpfs tmpfs {root}/mnt
touch {root}/mnt/of-the-chroot
exec chroot {root} timeout 30 sh -euc '
    {unshare} sleep 60 &
    until inside=$(cat /proc/$!/task/$!/children) && test "$inside"; do sleep 0.1; done
    inside=${{inside%% *}}
    until test "$(cat /proc/$inside/comm)" = sleep; do sleep 0.1; done
    {enter} ls /mnt
    kill $!'
"""


def test_in_a_chroot_a_test_s_command_does_not_reach_the_machine_around_it(tmp_path):
    (tmp_path / "root").mkdir()
    script = IN_A_CHROOT.format(
        root=tmp_path / "root",
        unshare=shlex.join(UNSHARE),
        enter=shlex.join(entering("INSIDE", "--pid", "--mount")).replace("INSIDE", "$inside"),
    )

    assert run_in_namespace(script, tmp_path, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}) == [
        "of-the-chroot"
    ]
