"""What is seen of a machine before an activation."""

import socket

import pytest
from pylonyard.activation.sources import Release, Site
from pylonyard.activation.tree import Tree
from pylonyard.activation.world import look


@pytest.mark.parametrize(("host", "running"), [("127.0.0.2", {"shop"}), ("127.0.0.1", set())])
def test_server_runs_where_the_release_has_it_listen(tmp_path, host, running):
    with socket.create_server(("127.0.0.2", 0)) as server:
        site = Site(
            name="shop",
            user="root",
            data=tmp_path,
            live=tmp_path,
            log=tmp_path,
            host=host,
            port=server.getsockname()[1],
        )

        seen = look(Tree(tmp_path), Release(1, tmp_path, (site,), ()), {}, {}, runs_apache=False)

    assert seen.running == running
