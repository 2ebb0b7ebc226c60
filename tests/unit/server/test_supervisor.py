"""When a supervisor gives up; real processes stand for those before it."""

import pytest
from pylonyard.server.supervisor import Supervisor
from pylonyard.server.takeover import TakeoverRefusedError

from tests.unit.server.test_control import site, supervising

__all__ = ["site"]  # a fixture


class Ending(Supervisor):
    """One whose servers serve, and end at once; so many are started at most."""

    left = 2

    def run_server(self):
        self.served = True
        self.left -= 1
        return 256 if self.left >= 0 else None

    def pause(self, failures):
        pass


def test_server_that_ends_before_those_before_it_are_told_leaves_them(site):
    with supervising(site) as before:
        supervisor = Ending(site, [], [before.pid])

        with pytest.raises(TakeoverRefusedError) as caught:
            supervisor.run()

        assert str(caught.value) == "the server ended as soon as it served: exit status 1"
        assert before.poll() is None
    supervisor.handover.close()


@pytest.mark.parametrize("is_told", [True, False])
def test_server_that_has_nobody_to_fall_back_on_is_started_again(site, is_told):
    with supervising(site) as before:
        pass
    supervisor = Ending(site, [], [before.pid])
    supervisor.takeover.stop_requested = is_told

    assert supervisor.run() == 0
    assert supervisor.left < 0
    supervisor.handover.close()
