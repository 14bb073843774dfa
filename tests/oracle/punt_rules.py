"""What is the kernel's on a port with a host interface, and in which class it goes up: DESIGN.md section 6.

`punt_class` is empty for what is not: then the other rules hold, as on a port without one. In words:
 1. What is broken below the transport header is dropped, whoever it is for.
 2. ARP that asks for no VIP, EtherTypes that are neither ARP nor IP, groups (multicast, broadcast), and
    unicast to the port's own addresses are the kernel's.
 3. VIPs are not, whatever is sent to them; but of a VIP that is the port's own address just the services'
    protocols and L4 ports are weir's.
A capture has no kernel that speaks, so nobody is known to talk: `talking` and `neighbor` do not occur.
"""
from __future__ import annotations

from oracle.frame_rules import (BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Finding, Packet,
                                link_reasons, read_ipv4, read_ipv6)
from oracle.world import TCP, UDP, Port, World

ICMP, ICMPV6, OSPF, VRRP = 1, 58, 89, 112
BGP, BFD_ONE_HOP, BFD_MULTIHOP = 179, (3784, 3785), 4784
NEIGHBOR_SOLICITATION = 135
DISCOVERY = frozenset(range(130, 138)) | {143}
LINK_LAYER = {"not_our_mac", "unknown_ethertype"}


def punt_class(world: World, port: Port, frame: bytes) -> str:
    if not port.has_host or link_reasons(frame, port.mac) - LINK_LAYER:
        return ""
    if not frame[0] & 1 and frame[:6] != port.mac:
        return ""
    ether_type = frame[12] << 8 | frame[13]
    if ether_type == ETHERTYPE_ARP:
        return "arp" if is_arp(frame) and frame[38:42] not in world.weirs_on(port) else ""
    if ether_type not in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
        return "link"
    finding = read_ipv4(frame) if ether_type == ETHERTYPE_IPV4 else read_ipv6(frame)
    packet = finding.packet
    if packet is None or broken(frame, finding, packet):
        return ""
    if frame[0] & 1:
        return class_of(frame, finding, packet) if is_group_of_host(world, port, frame, packet) else ""
    if not finding.walkable:
        return ""
    if is_group(packet.destination):
        return class_of(frame, finding, packet) if is_group_of_host(world, port, frame, packet) else ""
    if packet.destination not in port.own_addresses or is_services(world, frame, finding, packet):
        return ""
    return class_of(frame, finding, packet)


def is_arp(frame: bytes) -> bool:
    sender = frame[22:28]
    return len(frame) >= 42 and frame[14:20] == b"\x00\x01\x08\x00\x06\x04" and not sender[0] & 1 and any(sender)


def is_group(address: bytes) -> bool:
    if len(address) == 4:
        return 224 <= address[0] < 240 or address == b"\xff" * 4
    return address[0] == 0xFF


def broken(frame: bytes, finding: Finding, packet: Packet) -> bool:
    """Destinations are judged later. Sources of the link are right here."""
    reasons = finding.reasons - {"ip_martian_destination", "ext_chain"}
    if may_speak_on_link(frame, packet):
        reasons = reasons - {"ip_martian_source"}
    return bool(reasons)


def may_speak_on_link(frame: bytes, packet: Packet) -> bool:
    """Link-local addresses; and nobody yet, to a group or by ICMPv6 (RFC 4861, RFC 3590, RFC 2131)."""
    if packet.source == packet.destination:
        return False
    if packet.family == 6 and packet.source[0] == 0xFE and packet.source[1] & 0xC0 == 0x80:
        return True
    is_nobody = not any(packet.source)
    return is_nobody and (is_group(packet.destination) or packet.family == 6 and frame[20] == ICMPV6)


def is_group_of_host(world: World, port: Port, frame: bytes, packet: Packet) -> bool:
    destination, weirs = packet.destination, world.weirs_on(port)
    if packet.family == 4:
        subnet = frame[:6] == BROADCAST and destination not in world.vips and destination not in port.own_addresses
        return is_group(destination) or subnet
    names_target = frame[20] == ICMPV6 and packet.length >= 64
    solicits = names_target and frame[54] == NEIGHBOR_SOLICITATION and frame[62:78] in weirs
    return is_group(destination) and not solicits


def is_services(world: World, frame: bytes, finding: Finding, packet: Packet) -> bool:
    if packet.destination not in world.vips:
        return False
    if "ip_martian_source" in finding.reasons and (packet.family == 4 or frame[20] != ICMPV6):
        return True  # and then it is dropped: no service takes it
    if packet.fragmented or not has_whole_transport(frame, packet):
        return False
    at = packet.transport
    return world.find_service(packet.destination, packet.protocol, frame[at + 2] << 8 | frame[at + 3]) is not None


def has_whole_transport(frame: bytes, packet: Packet) -> bool:
    at, room = packet.transport, packet.end - packet.transport
    if packet.protocol == TCP:
        return room >= 20 and 20 <= (frame[at + 12] >> 4) * 4 <= room
    return packet.protocol == UDP and room >= 8 and 8 <= (frame[at + 4] << 8 | frame[at + 5]) <= room


def class_of(frame: bytes, finding: Finding, packet: Packet) -> str:
    to_group = bool(frame[0] & 1) or is_group(packet.destination)
    rest = "link" if to_group else "other"
    if packet.fragmented or not finding.walkable:
        return rest
    hops, at = frame[22 if packet.family == 4 else 21], packet.transport
    if packet.protocol == OSPF or packet.protocol == VRRP and hops == 255:
        return "routing"
    if packet.protocol == (ICMP if packet.family == 4 else ICMPV6):
        if packet.family == 6 and packet.end - at >= 8 and frame[at] in DISCOVERY:
            return "nd"
        return "link" if to_group else "icmp"
    if to_group or not has_whole_transport(frame, packet):
        return rest
    source, destination = frame[at] << 8 | frame[at + 1], frame[at + 2] << 8 | frame[at + 3]
    if packet.protocol == UDP:
        is_bfd = destination in BFD_ONE_HOP and hops == 255 or destination == BFD_MULTIHOP
        return "routing" if is_bfd else "udp"
    if BGP in (source, destination):
        return "bgp"
    return "tcp_syn" if frame[at + 13] & 0x12 == 0x02 else "tcp"
