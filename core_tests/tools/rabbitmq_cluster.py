"""Three private RabbitMQ nodes in one cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from core_tests.tools.rabbitmq_node import RabbitMQNode


class RabbitMQCluster:
    """Made of the first of its `nodes`, which the others join when they start for the first time."""

    def __init__(self) -> None:
        first = RabbitMQNode()
        self.nodes = [first, RabbitMQNode(first), RabbitMQNode(first)]
        for node in self.nodes[1:]:
            node.configure(
                "cluster_formation.peer_discovery_backend = classic_config\n"
                f"cluster_formation.classic_config.nodes.1 = {first.name}\n"
                f"cluster_formation.classic_config.nodes.2 = {node.name}\n"
            )

    @property
    def urls(self) -> list[str]:
        """The nodes' URLs."""
        return [node.url for node in self.nodes]

    def start(self) -> None:
        """Start all nodes. Returns when each accepts connections; raises RuntimeError if they are no cluster."""
        self.nodes[0].start()
        with ThreadPoolExecutor() as pool:
            list(pool.map(RabbitMQNode.start, self.nodes[1:]))
        running = self._ask("cluster_status")["running_nodes"]
        if sorted(running) != sorted(node.name for node in self.nodes):
            raise RuntimeError(f"the RabbitMQ nodes did not join: {running}")

    @contextmanager
    def without(self, node: RabbitMQNode) -> Iterator[None]:
        """`kill -9` of a node, which is started again after the block."""
        node.kill()
        try:
            yield
        finally:
            node.start()

    def leader(self, queue: str) -> RabbitMQNode | None:
        """The node that leads the quorum queue, if the others know of one."""
        return self._named(self._row(queue).get("leader"))

    def members(self, queue: str) -> set[str]:
        """The nodes that the quorum queue is on, up or down."""
        return set(self._row(queue).get("members", []))

    def online(self, queue: str) -> set[str]:
        """Those of them that are up."""
        return set(self._row(queue).get("online", []))

    def node_of(self, connection: str) -> RabbitMQNode | None:
        """The node that the connection of this name is to."""
        for row in self._ask("list_connections", "port", "client_properties"):
            if connection in (value for _, _, value in row["client_properties"]):
                return next(node for node in self.nodes if node.port == row["port"])
        return None

    def remove(self) -> None:
        """Kill all nodes, and delete their data."""
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            node.remove()

    def _row(self, queue: str) -> dict[str, Any]:
        rows = self._ask("list_queues", "name", "leader", "members", "online")
        return next((row for row in rows if row["name"] == queue), {})

    def _ask(self, *arguments: str) -> Any:
        """What rabbitmqctl says on a node that runs."""
        node = next(node for node in self.nodes if node.running)
        return json.loads(node.ctl("--quiet", *arguments, "--formatter", "json"))

    def _named(self, name: str | None) -> RabbitMQNode | None:
        return next((node for node in self.nodes if node.name == name), None)
