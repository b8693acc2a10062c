"""A simulated cluster of two nodes with the engine on it, in a process of its own: `python -m tests.cluster_process PORT`.

Says `ready` on stdout once it serves; takes `kill` on stdin (one replica dies, the busiest or any) and says `killed`.
"""

from __future__ import annotations

import os
import sys

os.environ.update(RAY_USAGE_STATS_ENABLED="0", PLAYGROUND_HUB="off", PLAYGROUND_DEVICE="cpu")

import ray
from ray import serve
from ray.cluster_utils import Cluster

from playground.cluster.replicas import EngineReplica

HERE = "127.0.0.1"


def main(port: int) -> None:
    """Serves until stdin ends."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(http_options={"host": HERE, "port": port})
    serve.run(EngineReplica.options(num_replicas=2).bind(), name="playground", route_prefix="/")
    _say("ready")
    for line in sys.stdin:
        if line.strip() == "kill":
            replicas = [each["name"] for each in ray.util.list_named_actors(all_namespaces=True) if "EngineReplica" in each["name"]]
            for name in replicas:
                ray.kill(ray.get_actor(name, namespace="serve"))
            _say(f"killed {len(replicas)}")
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
