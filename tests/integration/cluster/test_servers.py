"""A cluster whose PostgreSQL, Redis and RabbitMQ are killed by somebody else: it starts them again."""

import os
import signal
from collections.abc import Iterator

import pytest

from scripts.topology.cluster import Cluster, Shape
from tests.ports import free_ports
from tests.redis_server import once_only
from tests.waiting import until_sync

pytestmark = [once_only, pytest.mark.crash]

READY_SECONDS = 120.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The smallest cluster there is, ready."""
    folder = tmp_path_factory.mktemp("cluster")
    shape = Shape(apis=1, engines=1, workers=0, first_port=free_ports(3))
    cluster = Cluster(folder / "cluster", shape, {"LOG_LEVEL": "WARNING"})
    try:
        cluster.start()
        until_sync(lambda: is_ready(cluster), seconds=READY_SECONDS)
        yield cluster
    finally:
        cluster.stop()


def is_ready(cluster: Cluster) -> bool:
    """Whether every process does its work."""
    are_up = all(server.is_ready for server in cluster.servers)
    return are_up and all(member.is_ready for member in cluster.members.values())


@pytest.mark.parametrize("name", ["postgres", "redis", "rabbitmq"])
def test_a_server_that_is_killed_comes_back(cluster: Cluster, name: str) -> None:
    (server,) = (server for server in cluster.servers if server.name == name)
    starts, url, pid = server.starts, server.url, server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until_sync(lambda: server.starts == starts + 1 and server.is_ready, seconds=READY_SECONDS)
    assert (server.url, server.pid != pid) == (url, True)
    until_sync(lambda: is_ready(cluster), seconds=READY_SECONDS)


def test_one_that_is_killed_by_its_own_kill_is_left_to_who_did_it(cluster: Cluster) -> None:
    starts = cluster.redis.starts
    cluster.redis.kill()
    until_sync(lambda: not cluster.redis.is_ready)
    cluster.redis.start()
    assert cluster.redis.starts == starts + 1


def test_a_second_cluster_in_the_same_folder_is_refused(cluster: Cluster) -> None:
    with pytest.raises(RuntimeError, match=r"another cluster runs in .* --folder"):
        Cluster(cluster.folder).start()
    assert is_ready(cluster)
