"""What weir itself may say: ARP replies, neighbour advertisements, echo replies. Empty string: it is right."""
from __future__ import annotations

from oracle.frame_rules import Packet, read_ipv4, read_ipv6
from oracle.transport_rules import ICMP, ICMPV6, icmp_checksum_is_good
from oracle.world import Port

SOLICITED_AND_OVERRIDE = 0x60
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")


def answer_problem(kind: str, port: Port, frame: bytes, packet: Packet | None, answer: bytes) -> str:
    if answer[6:12] != port.mac:
        return "source MAC address is not the port's"
    if kind == "arp":
        return _arp_problem(port, frame, answer)
    if packet is None or answer[12:14] != frame[12:14]:
        return "EtherType differs from the request's"
    finding = read_ipv4(answer) if packet.family == 4 else read_ipv6(answer)
    reply = finding.packet
    tolerated = {"ip_martian_source", "ip_martian_destination"}
    if finding.may_pass:
        tolerated.add("ext_chain")
    if reply is None or finding.reasons - tolerated:
        return f"malformed: {sorted(finding.reasons)}"
    if kind == "nd":
        return _advertisement_problem(port, frame, packet, answer, reply)
    return _echo_problem(frame, packet, answer, reply)


def _arp_problem(port: Port, frame: bytes, answer: bytes) -> str:
    sender_mac, sender, target = frame[22:28], frame[28:32], frame[38:42]
    if answer[:6] not in (frame[6:12], sender_mac):
        return "destination MAC address is not the asker's"
    expected = (answer[:6] + port.mac + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02"
                + port.mac + target + sender_mac + sender)
    if answer[:42] != expected:
        return f"ARP reply is {answer[:42].hex()}, expected {expected.hex()}"
    if len(answer) > max(60, len(frame)) or any(answer[42:]) and answer[42:] != frame[42:]:
        return "bytes behind the ARP reply that are not the request's padding"
    return ""


def _advertisement_problem(port: Port, frame: bytes, packet: Packet, answer: bytes, reply: Packet) -> str:
    target = frame[packet.transport + 8:packet.transport + 24]
    message = answer[reply.transport:reply.end]
    duplicate_detection = not any(packet.source)
    if reply.protocol != ICMPV6 or answer[21] != 255 or not icmp_checksum_is_good(message, reply):
        return "protocol, hop limit or checksum of the advertisement"
    if reply.source != target:
        return f"source is {reply.source.hex()}, not the target"
    if reply.destination != (ALL_NODES if duplicate_detection else packet.source):
        return f"destination is {reply.destination.hex()}"
    if not duplicate_detection and answer[:6] != frame[6:12]:
        return "destination MAC address is not the asker's"
    flags = 0x20 if duplicate_detection else SOLICITED_AND_OVERRIDE
    expected = bytes((136, 0)) + message[2:4] + bytes((flags, 0, 0, 0)) + target + b"\x02\x01" + port.mac
    if message != expected:
        return f"advertisement is {message.hex()}, expected {expected.hex()}"
    return ""


def _echo_problem(frame: bytes, packet: Packet, answer: bytes, reply: Packet) -> str:
    request = frame[packet.transport:packet.end]
    message = answer[reply.transport:reply.end]
    if answer[:6] != frame[6:12]:
        return "destination MAC address is not the asker's"
    if reply.protocol != (ICMP if packet.family == 4 else ICMPV6) or reply.fragmented:
        return "not a whole ICMP message"
    if (reply.source, reply.destination) != (packet.destination, packet.source):
        return "addresses are not the request's, exchanged"
    if message[:2] != bytes((0 if packet.family == 4 else 129, 0)):
        return f"type and code are {message[:2].hex()}"
    if message[4:] != request[4:]:
        return "identifier, sequence number or data differ"
    if not icmp_checksum_is_good(message, reply):
        return "checksum"
    return ""
