"""The same engine as replicas of a Ray Serve deployment, on one machine or on a cluster: `serve deploy serve.yaml`, or `make serve`.

A replica merges the forward passes of the requests that are in it, so several are let in at once. Requests of one model go to a replica
that has it loaded (multiplexing). How many replicas there are, and what part of a GPU each has, is said in `serve.yaml`.
"""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from ray import serve

from playground.cluster.ingress import ingress
from playground.engine import Engine
from playground.settings import Settings

MODELS_OF_A_REPLICA = 16
"""Models that the router takes a replica to have loaded, at most."""


@serve.deployment(max_ongoing_requests=16, graceful_shutdown_timeout_s=30)
@serve.ingress()
class EngineReplica:
    """One engine, with its own models."""

    def __init__(self) -> None:
        import torch

        settings = Settings.from_environment()
        torch.set_num_threads(settings.threads)
        self.engine = Engine(settings)

    @serve.multiplexed(max_num_models_per_replica=MODELS_OF_A_REPLICA)
    async def hold(self, card: str) -> str:
        """Loads a model, and has the router know."""
        await asyncio.to_thread(self.engine.model, card)
        return card

    async def prepare(self, card: str) -> None:
        """Before a request for that card."""
        await self.hold(card)

    def check_health(self) -> None:
        """Raises `BadWeights` where there are no cards."""
        if self.engine.problem is not None:
            raise self.engine.problem

    def __serve_build_asgi_app__(self) -> FastAPI:
        return ingress(self.engine, self.prepare)


app = EngineReplica.bind()
