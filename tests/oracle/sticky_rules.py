"""Stickiness, specified: which backend a client's new flow must go to.

A client is a prefix of the pool's length. Its first flow goes where weir's hash says. From then on, for `duration`
after the last new flow, each new flow goes where the one before it went, whatever joins the pool, as long as that
backend may get new flows. After that it is a new client.
"""
from __future__ import annotations

from dataclasses import dataclass

from oracle.world import Backend, Pool

NEAR = 0.05  # seconds: weir's clock has ticks of 1/64 s


@dataclass
class ClientMemory:
    backend: Backend
    last: int  # nanoseconds: its latest new flow


class StickyClients:
    def __init__(self) -> None:
        self._clients: dict[tuple[str, bytes], ClientMemory] = {}

    def expected(self, pool: Pool, source: bytes, time: int) -> Backend | None:
        """None: any backend that may get new flows."""
        memory = self._clients.get((pool.name, pool.prefix(source)))
        assert pool.stickiness is not None
        if memory is None or (time - memory.last) / 1e9 > pool.stickiness.duration - NEAR:
            return None
        return memory.backend if memory.backend.is_eligible(time) else None

    def note(self, pool: Pool, source: bytes, backend: Backend, time: int) -> None:
        """A new flow of the client went there."""
        self._clients[pool.name, pool.prefix(source)] = ClientMemory(backend, time)
