"""Machines of a cluster that grows: processes of this machine, with a memory that is known."""

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class GrowingProvider(FakeMultiNodeProvider):
    """Ray's own for tests; it hands memory on as a resource of the user's, which Ray refuses."""

    def create_node_with_resources_and_labels(self, node_config, tags, count, resources, labels):
        # A node finds by itself how much it has.
        rest = {name: amount for name, amount in resources.items() if name != "memory"}
        super().create_node_with_resources_and_labels(node_config, tags, count, rest, labels)
