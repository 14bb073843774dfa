"""Configurations in mode nat: each port of weir translates to its own addresses."""

from __future__ import annotations

import re

from lab.network import Network
from lab.weir import config_text

SNAT_PORTS = range(10000, 32768)  # wrk opens thousands of connections a second


def with_snat(text: str, ports: range = SNAT_PORTS) -> str:
    """A scenario's configuration with SNAT addresses at each port, two workers and two queues."""
    def added(match: re.Match[str]) -> str:
        own = [address.split("/")[0] for address in re.findall(r'"([^"]+)"', match[1])]
        listed = ", ".join(f'"{address}"' for address in own)
        return (f'{match[0]} snat = {{ addresses = [ {listed} ]; '
                f'ports = "{ports.start}-{ports.stop - 1}"; }};')
    return re.sub(r"addresses = \[([^\]]*)\];", added, text).replace(
        "workers = 1;", "workers = 2;").replace('"; addresses', ',qpairs=2"; addresses')


def nat_config(network: Network, ports: range = SNAT_PORTS) -> str:
    """The scenario's services, in mode nat."""
    return with_snat(config_text(network).replace('forwarding = "dsr"', 'forwarding = "nat"'), ports)
