"""gue: IPv6 packets in IPv6; TOS, DF and id are taken over, TTL is fresh, inner bytes untouched."""
from support.python.scenario import Scenario
from support.python.traffic import by_gue, typical_packets, vip


def make(s: Scenario) -> None:
    for frame in typical_packets(6, vip(6, 31)):
        s.forwarded(frame, becomes=by_gue(frame, outer=6))
