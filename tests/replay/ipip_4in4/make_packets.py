"""ipip: IPv4 packets in IPv4; TOS, DF and id are taken over, TTL is fresh, inner bytes untouched."""
from support.python.scenario import Scenario
from support.python.traffic import by_ipip, typical_packets, vip


def make(s: Scenario) -> None:
    for frame in typical_packets(4, vip(4, 20)):
        s.forwarded(frame, becomes=by_ipip(frame, outer=4))
