"""Configurations that weir must refuse: the lab's own with one thing wrong in it."""

from __future__ import annotations

# (what is wrong, text of the good configuration, what stands there instead)
REPLACED: list[tuple[str, str, str]] = [
    # syntax
    ("a brace is missing", 'idle = "sleep"; };', 'idle = "sleep"; ;'),
    ("a quote is missing", 'name = "edge";', 'name = "edge;'),
    ("a list is not closed", "\n);\nneighbors", "\n;\nneighbors"),
    ("a value is missing", "workers = 1;", "workers = ;"),
    ("an assignment is missing", "workers = 1;", "workers 1;"),
    ("garbage", "pools = (", "}{ pools = ("),
    ("a setting twice", "workers = 1;", "workers = 1; workers = 1;"),
    # unknown keys
    ("unknown top key", "pools = (", "colour = 1; pools = ("),
    ("unknown dataplane key", "workers = 1;", "workers = 1; lcores = 2;"),
    ("unknown port key", "mtu = 1500;", "mtu = 1500; speed = 10;"),
    ("unknown neighbor key", 'port = "edge"; }', 'port = "edge"; age = 1; }'),
    ("unknown pool key", 'name = "web";', 'name = "web"; algorithm = "rr";'),
    ("unknown backend key", "weight = 1;", "wieght = 1;"),
    ("unknown service key", 'forwarding = "dsr";', 'forwarding = "dsr"; mode = "dsr";'),
    ("unknown metrics key", 'listen = "127.0.0.1:9101";', 'listen = "127.0.0.1:9101"; path = "/m";'),
    # wrong types
    ("workers is a string", "workers = 1;", 'workers = "1";'),
    ("workers is a float", "workers = 1;", "workers = 1.5;"),
    ("hugepages is a number", "hugepages = false;", "hugepages = 0;"),
    ("memory is a number", 'memory = "256M";', "memory = 256;"),
    ("flows is a boolean", "flows_per_worker = 65536;", "flows_per_worker = true;"),
    ("port name is a number", 'name = "edge";', "name = 5;"),
    ("delay is a number", 'deregistration_delay = "300s";', "deregistration_delay = 300;"),
    ("weight is a string", "weight = 1;", 'weight = "1";'),
    ("vip is a number", 'vip = "203.0.113.10";', "vip = 203;"),
    ("pools is a group", "pools = (", "pools = { }; pools_ = ("),
    ("dataplane is a string", "dataplane = {", 'dataplane = "x"; dataplane_ = {'),
    # units
    ("duration without a unit", 'deregistration_delay = "300s";', 'deregistration_delay = "300";'),
    ("duration in parsecs", 'deregistration_delay = "300s";', 'deregistration_delay = "300parsec";'),
    ("negative duration", 'deregistration_delay = "300s";', 'deregistration_delay = "-1s";'),
    ("empty duration", 'deregistration_delay = "300s";', 'deregistration_delay = "";'),
    ("memory in light years", 'memory = "256M";', 'memory = "256ly";'),
    # ranges
    ("no workers", "workers = 1;", "workers = 0;"),
    ("too many workers", "workers = 1;", "workers = 6500;"),
    ("negative workers", "workers = 1;", "workers = -1;"),
    ("no flows", "flows_per_worker = 65536;", "flows_per_worker = 0;"),
    ("mtu too small", "mtu = 1500;", "mtu = 10;"),
    ("mtu too large", "mtu = 1500;", "mtu = 100000;"),
    ("reserved vlan", "mtu = 1500;", "mtu = 1500; vlan = 4095;"),
    ("three vlans", "mtu = 1500;", "mtu = 1500; vlan = [ 1, 2, 3 ];"),
    ("service port 0", "port = 80; forwarding", "port = 0; forwarding"),
    ("service port 65536", "port = 80; forwarding", "port = 65536; forwarding"),
    ("backend port 65536", "port = 80; weight", "port = 65536; weight"),
    ("negative weight", "weight = 1;", "weight = -1;"),
    # words
    ("unknown idle mode", 'idle = "sleep";', 'idle = "nap";'),
    ("unknown protocol", 'protocol = "tcp";', 'protocol = "sctp";'),
    ("unknown forwarding mode", 'forwarding = "dsr";', 'forwarding = "dsrx";'),
    ("forwarding mode not built", 'forwarding = "dsr";', 'forwarding = "geneve";'),
    ("unknown hash", 'name = "web";', 'name = "web"; hash = "round_robin";'),
    ("port range backwards", "port = 80; forwarding", 'port = "90-80"; forwarding'),
    ("port list with a hole", "port = 80; forwarding", 'port = "80,,443"; forwarding'),
    ("port is a word", "port = 80; forwarding", 'port = "http"; forwarding'),
    # addresses
    ("backend address is a name", 'address = "10.1.0.11"; port = 80', 'address = "TestWeb01"; port = 80'),
    ("backend address out of range", 'address = "10.1.0.11"; port = 80', 'address = "10.1.0.300"; port = 80'),
    ("vip is no address", 'vip = "203.0.113.10";', 'vip = "203.0.113";'),
    ("vip is multicast", 'vip = "203.0.113.10";', 'vip = "224.0.0.10";'),
    ("vip is unspecified", 'vip = "203.0.113.10";', 'vip = "0.0.0.0";'),
    ("prefix too long", '"10.1.0.2/24"', '"10.1.0.2/33"'),
    ("neighbor mac too short", 'mac = "02:00:00:00:00:11";', 'mac = "02:00:00:00:00";'),
    ("neighbor mac is multicast", 'mac = "02:00:00:00:00:11";', 'mac = "01:00:00:00:00:11";'),
    ("host interface with a name too long", "mtu = 1500;", 'mtu = 1500; host_interface = "sixteen_letters_";'),
    # references and contradictions
    ("service of an unknown pool", 'pool = "web";', 'pool = "wbe";'),
    ("neighbor on an unknown port", 'port = "edge"; }', 'port = "egde"; }'),
    ("backend twice in a pool", 'name = "TestWeb02"', 'name = "TestWeb01"'),
    ("pool twice", 'name = "web6"; deregistration', 'name = "web"; deregistration'),
    ("service twice", 'name = "web6"; vip', 'name = "web"; vip'),
    ("two services on one vip and port", 'name = "web6"; vip = "2001:db8:203::10"',
     'name = "web6"; vip = "203.0.113.10"'),
    # something is missing
    ("service without a vip", 'vip = "203.0.113.10"; ', ""),
    ("service without a pool", 'forwarding = "dsr"; pool = "web"; }', 'forwarding = "dsr"; }'),
    ("service without a protocol", 'protocol = "tcp"; ', ""),
    ("backend without a name", 'name = "TestWeb01"; ', ""),
    ("backend without an address", 'address = "10.1.0.11"; port = 80', "port = 80"),
    ("neighbor without a mac", 'mac = "02:00:00:00:00:11"; ', ""),
    # in modes that keep the client's address
    ("proxy protocol in mode dsr", 'name = "web";', 'name = "web"; client_address = "proxy_v2";'),
    # health
    ("udp check without a payload", 'name = "web";', 'name = "web"; health_check = { protocol = "udp"; };'),
    ("cross_zone without a zone", 'name = "web";', 'name = "web"; cross_zone = false;'),
    ("drain time of flows that are not kept", 'name = "web";', 'name = "web"; unhealthy_draining = "10s";'),
]

# Right in themselves, but they need a restart: refused by name.
NEED_RESTART: list[tuple[str, str, str]] = [
    ("dataplane", "flows_per_worker = 65536;", "flows_per_worker = 131072;"),
    ("sticky_clients_per_worker", "flows_per_worker = 65536;", "flows_per_worker = 65536; sticky_clients_per_worker = 1024;"),
    ("device", "net_af_packet0,iface=edge", "net_af_packet1,iface=edge"),
    ("host_interface", "mtu = 1500;", 'mtu = 1500; host_interface = "other0";'),
    ("metrics", "127.0.0.1:9101", "127.0.0.1:9102"),
]


def changed(good: str, old: str, new: str) -> str:
    """The configuration with the first `old` replaced."""
    assert old in good, f"the lab's configuration has no {old!r} any more"
    return good.replace(old, new, 1)


def bad_configs(good: str) -> list[tuple[str, str]]:
    """(what is wrong, the whole text)"""
    whole = [("cut off in the middle", good[:len(good) // 2]), ("not a text", "\x01\x02\x7f" * 20),
             ("another format", '{"services": []}')]
    return [(name, changed(good, old, new)) for name, old, new in REPLACED] + whole
