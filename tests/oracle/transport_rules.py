"""What weir owes to a frame: forward it to a service, answer it, or drop it for one of several reasons.

`judge_frame` is the whole decision except for the choice of the backend. It reads bytes alone: no scapy, no
state. The reasons of one layer are collected, those of the layers above are not looked at any more.
"""
from __future__ import annotations

from dataclasses import dataclass

from oracle.frame_rules import (BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, SOLICITED_NODE_MAC,
                                SOLICITED_NODE_PREFIX, Finding, Packet, link_reasons, read_ipv4, read_ipv6)
from oracle.punt_rules import punt_class
from oracle.world import TCP, UDP, Port, Service, World
from support.python.checksum import is_valid, pseudo_header

ICMP, ICMPV6 = 1, 58
V4_ERRORS = frozenset((3, 4, 5, 11, 12))
ECHO_REQUEST = {4: 8, 6: 128}
NEIGHBOR_SOLICITATION = 135
ND_TYPES = frozenset(range(133, 138))


@dataclass(slots=True)
class Judgement:
    """`reasons` empty: must not be dropped. `forward` or `answer` unset: must not leave weir that way."""

    reasons: frozenset[str]
    forward: Service | None = None
    answer: str = ""  # arp, nd, echo
    packet: Packet | None = None
    flow: tuple[bytes, bytes, bytes, int] | None = None  # source, destination, both L4 ports, protocol
    punt: str = ""  # the class in which it goes to the kernel, or is dropped punt_limited


def drop(*reasons: str) -> Judgement:
    return Judgement(frozenset(reasons))


def judge_frame(world: World, port: Port, frame: bytes) -> Judgement:
    if kernels := punt_class(world, port, frame):
        return Judgement(frozenset(), punt=kernels)
    reasons = link_reasons(frame, port.mac)
    if reasons:
        if port.has_host and reasons == {"not_our_mac"} and frame[0] & 1:
            reasons |= read_ipv4(frame).reasons  # not a group's packet: looked at all the same
        return drop(*reasons)
    ether_type = frame[12] << 8 | frame[13]
    if ether_type == ETHERTYPE_ARP:
        return judge_arp(world, port, frame)
    finding = read_ipv4(frame) if ether_type == ETHERTYPE_IPV4 else read_ipv6(frame)
    packet = finding.packet
    if packet is None:
        return drop(*finding.reasons)
    if packet.family == 6 and is_solicitation(frame, finding, packet):
        return judge_solicitation(world, port, frame, finding, packet)
    if packet.protocol == ICMPV6 and packet.source[0] == 0xFE and finding.reasons == {"ip_martian_source"}:
        finding.may_pass = True  # a neighbour's ping from its link-local address is no traffic to forward
    if frame[0] & 1:
        discovery = {"nd_not_vip"} if packet.protocol == ICMPV6 else set()
        if packet.end - packet.transport < 8:
            discovery.add("nd_malformed")
        return drop("not_our_mac", "not_vip", *discovery, *finding.reasons)
    if packet.destination not in world.vips:
        return judge_stray(world, port, finding, packet)
    if finding.reasons and not finding.may_pass:
        return drop(*finding.reasons)
    judgement = judge_transport(world, frame, packet)
    if finding.may_pass:
        judgement.reasons = judgement.reasons | finding.reasons
    return judgement


def judge_stray(world: World, port: Port, finding: Finding, packet: Packet) -> Judgement:
    """Not to a VIP. Neighbour messages have a reason of their own; an echo to weir itself may be answered."""
    reasons = finding.reasons | {"not_vip"}
    if packet.protocol == ICMPV6:
        reasons |= {"nd_not_vip", "nd_malformed"}
    ours = packet.destination in world.own_addresses
    judgement = drop(*reasons, *(("fragment", "icmp_error", "icmp_malformed", "icmp_other") if ours else ()))
    if ours and not port.has_host and (finding.may_pass or not finding.reasons):
        judgement.answer, judgement.packet = "own", packet
    return judgement


# --- TCP, UDP, ICMP to a VIP ---------------------------------------------------------------------------


def judge_transport(world: World, frame: bytes, packet: Packet) -> Judgement:
    start, room, protocol = packet.transport, packet.end - packet.transport, packet.protocol
    if packet.fragmented:
        known = protocol in (TCP, UDP) or protocol == (ICMP if packet.family == 4 else ICMPV6)
        return drop("fragment") if known else drop("fragment", "unknown_protocol", "ext_chain")
    if protocol == (ICMP if packet.family == 4 else ICMPV6):
        return judge_icmp(frame, packet)
    if protocol == TCP:
        header = (frame[start + 12] >> 4) * 4 if room >= 20 else 0
        if header < 20 or header > room:
            return drop("l4_truncated")
    elif protocol == UDP:
        length = frame[start + 4] << 8 | frame[start + 5] if room >= 8 else 0
        if length < 8 or length > room:
            return drop("l4_truncated")
    else:
        return drop("unknown_protocol")
    service = world.find_service(packet.destination, protocol, frame[start + 2] << 8 | frame[start + 3])
    if service is None:
        return drop("no_service")
    if not service.targets:
        return Judgement(frozenset(("no_backend",)), packet=packet)
    flow = (packet.source, packet.destination, frame[start:start + 4], protocol)
    judgement = Judgement(frozenset(), service, "", packet, flow)
    if protocol == UDP and length < room:  # bytes behind the datagram (UDP options): the contract is silent
        judgement.reasons = frozenset(("l4_truncated",))
    return judgement


def judge_icmp(frame: bytes, packet: Packet) -> Judgement:
    start, end = packet.transport, packet.end
    if end - start < 8:
        return drop("icmp_malformed")
    message = frame[start:end]
    kind, code = message[0], message[1]
    sound = icmp_checksum_is_good(message, packet)
    if kind == ECHO_REQUEST[packet.family]:
        if not sound:
            return drop("icmp_malformed")
        reasons = frozenset(("icmp_malformed", "icmp_other")) if code else frozenset[str]()
        return Judgement(reasons, None, "echo", packet)
    is_error = kind in V4_ERRORS if packet.family == 4 else kind < 128
    reasons = {"icmp_error"} if is_error else {"icmp_other"}
    if packet.family == 6 and kind in ND_TYPES:
        reasons |= {"nd_malformed", "nd_not_vip"}
    return drop(*reasons) if sound else drop("icmp_malformed", *reasons)


def icmp_checksum_is_good(message: bytes, packet: Packet) -> bool:
    if packet.family == 4:
        return is_valid(message)
    return is_valid(pseudo_header(packet.source, packet.destination, ICMPV6, len(message)), message)


# --- ARP and neighbour discovery -----------------------------------------------------------------------


def judge_arp(world: World, port: Port, frame: bytes) -> Judgement:
    if len(frame) < 42 or frame[14:20] != b"\x00\x01\x08\x00\x06\x04":
        return drop("arp_malformed")
    operation, target = frame[20] << 8 | frame[21], frame[38:42]
    if operation != 1:
        return drop("arp_not_vip") if operation == 2 else drop("arp_not_vip", "arp_malformed")
    open_reasons = set()
    if frame[22:28] != frame[6:12]:  # sender's MAC differs from the frame's: "inconsistent"
        open_reasons.add("arp_malformed")
    if frame[0] & 1 and frame[:6] != BROADCAST:
        open_reasons.add("not_our_mac")
    if target not in world.weirs_on(port):
        return drop("arp_not_vip", *open_reasons)
    if frame[28:32] == target:  # somebody else claims the address
        open_reasons |= {"arp_not_vip", "arp_malformed"}
    return Judgement(frozenset(open_reasons), None, "arp")


def is_solicitation(frame: bytes, finding: Finding, packet: Packet) -> bool:
    if packet.protocol != ICMPV6 or packet.fragmented or packet.transport >= packet.end:
        return False
    return not finding.reasons & {"ip_version", "ip_truncated", "ext_chain"} \
        and frame[packet.transport] == NEIGHBOR_SOLICITATION


def judge_solicitation(world: World, port: Port, frame: bytes, finding: Finding, packet: Packet) -> Judgement:
    """RFC 4861 7.1.1. Link-local sources and multicast destinations are usual here, not martian."""
    start, end = packet.transport, packet.end
    message = frame[start:end]
    reasons = set()
    if len(message) < 24 or message[1] or frame[21] != 255 or not icmp_checksum_is_good(message, packet):
        reasons |= {"nd_malformed", "icmp_malformed", "nd_not_vip"}
    target = message[8:24]
    if target not in world.weirs_on(port):
        reasons.add("nd_not_vip")
    source_option = len(message) >= 24 and solicitation_options(message[24:])
    if source_option is None or target[:1] == b"\xff":
        reasons.add("nd_malformed")
    solicited_node = packet.destination == SOLICITED_NODE_PREFIX + target[13:]
    if not any(packet.source) and (packet.destination[:13] != SOLICITED_NODE_PREFIX or source_option):
        reasons.add("nd_malformed")
    if packet.destination not in world.vips | world.own_addresses and packet.destination[0] != 0xFF:
        reasons |= {"nd_not_vip", "not_vip", "ip_martian_destination"}
    if reasons or frame[21] == 0:
        if frame[0] & 1 and packet.destination[0] != 0xFF:
            reasons.add("not_our_mac")
        return drop(*reasons, *finding.reasons)
    open_reasons = set(finding.reasons - {"ip_martian_destination"})
    by_group = frame[0] & 1
    if by_group and (frame[:3] != SOLICITED_NODE_MAC or frame[3:6] != packet.destination[13:]
                     or packet.destination[0] != 0xFF):
        open_reasons.add("not_our_mac")
    if packet.source[:2] == b"\xfe\x80":
        open_reasons.discard("ip_martian_source")
    if packet.extended or packet.destination != target and not solicited_node:
        open_reasons |= {"nd_malformed", "nd_not_vip"}
    if not by_group and packet.destination[0] == 0xFF:
        open_reasons |= {"nd_malformed", "ip_martian_destination", "not_vip", "nd_not_vip"}
    return Judgement(frozenset(open_reasons), None, "nd", packet)


def solicitation_options(options: bytes) -> bool | None:
    """None: malformed. Else whether there is a source link-layer address."""
    offset, found = 0, False
    while offset < len(options):
        if offset + 2 > len(options) or options[offset + 1] == 0 or offset + options[offset + 1] * 8 > len(options):
            return None
        found = found or options[offset] == 1
        offset += options[offset + 1] * 8
    return found
