"""Backends that are not on the port's link: the frame goes to the router, the tunnel to the backend."""
from support.python.scenario import Scenario
from support.python.traffic import CLIENT_MAC, by_ipip, typical_packets, vip

ROUTER_MAC = CLIENT_MAC


def make(s: Scenario) -> None:
    for frame in typical_packets(4, vip(4, 22)):
        s.forwarded(frame, becomes=by_ipip(frame, outer=4, server="10.9.0.20", mac=ROUTER_MAC))
    for frame in typical_packets(6, vip(6, 23)):
        s.forwarded(frame, becomes=by_ipip(frame, outer=6, server="fd00:9::20", mac=ROUTER_MAC))
