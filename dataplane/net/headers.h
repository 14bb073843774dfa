// The headers as they lie on the wire. Layout promises are asserted beside each struct; every field that
// is wider than a byte is a Big<T>. All are packed to alignment 1: they may start at any byte of a frame.
#pragma once

#include <cstdint>

#include "dataplane/net/address.h"
#include "dataplane/net/byte_order.h"

namespace weir {

#pragma pack(push, 1)

enum class EtherType : std::uint16_t {
    ipv4 = 0x0800,
    arp = 0x0806,
    vlan = 0x8100,
    ipv6 = 0x86dd,
    qinq = 0x88a8,
};

struct EthernetHeader {
    MacAddress destination;
    MacAddress source;
    Be16 type;
};
static_assert(sizeof(EthernetHeader) == 14);

// IEEE 802.1Q 9.6, between the source MAC and the EtherType
struct VlanTag {
    Be16 type;     // EtherType::vlan or qinq
    Be16 control;  // priority 3 bits, drop eligible 1, VLAN id 12

    static constexpr std::uint16_t kIdMask = 0x0fff;
};
static_assert(sizeof(VlanTag) == 4);

// RFC 791 3.1
struct Ipv4Header {
    std::uint8_t version_ihl;
    std::uint8_t tos;  // DSCP and ECN
    Be16 total_length;
    Be16 identification;
    Be16 fragment;  // flags and offset
    std::uint8_t ttl;
    std::uint8_t protocol;
    Be16 checksum;
    Ipv4Address source;
    Ipv4Address destination;

    static constexpr std::uint8_t kVersion4NoOptions = 0x45;
    static constexpr std::uint16_t kDontFragment = 0x4000;
    static constexpr std::uint16_t kMoreFragments = 0x2000;
    static constexpr std::uint16_t kOffsetMask = 0x1fff;
};
static_assert(sizeof(Ipv4Header) == 20);

// RFC 8200 3
struct Ipv6Header {
    Be32 version_class_label;  // version 4 bits, traffic class 8, flow label 20
    Be16 payload_length;
    std::uint8_t next_header;
    std::uint8_t hop_limit;
    Ipv6Address source;
    Ipv6Address destination;
};
static_assert(sizeof(Ipv6Header) == 40);

// RFC 8200 4.2: the common shape of hop-by-hop, routing and destination options.
struct Ipv6Extension {
    std::uint8_t next_header;
    std::uint8_t length;  // 8-byte units behind the first
    std::uint8_t type;    // routing header: type
    std::uint8_t segments_left;
};
static_assert(sizeof(Ipv6Extension) == 4);

// RFC 8200 4.5
struct Ipv6Fragment {
    std::uint8_t next_header;
    std::uint8_t reserved;
    Be16 offset_more;  // offset 13 bits, reserved 2, more 1
    Be32 identification;
};
static_assert(sizeof(Ipv6Fragment) == 8);

// RFC 9293 3.1
struct TcpHeader {
    Be16 source;
    Be16 destination;
    Be32 sequence;
    Be32 acknowledgement;
    std::uint8_t data_offset;  // upper 4 bits: header length in 4-byte units
    std::uint8_t flags;
    Be16 window;
    Be16 checksum;
    Be16 urgent;

    static constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10, kUrg = 0x20;
};
static_assert(sizeof(TcpHeader) == 20);

// RFC 768
struct UdpHeader {
    Be16 source;
    Be16 destination;
    Be16 length;
    Be16 checksum;
};
static_assert(sizeof(UdpHeader) == 8);

// RFC 792, RFC 4443: the first eight bytes of both.
struct IcmpHeader {
    std::uint8_t type;
    std::uint8_t code;
    Be16 checksum;
    Be32 rest;

    static constexpr std::uint8_t kV4EchoReply = 0, kV4EchoRequest = 8;
    static constexpr std::uint8_t kV4Unreachable = 3,
                                  kV4FragmentationNeeded = 4;  // type and code, RFC 1191 4
    static constexpr std::uint8_t kV6TooBig = 2;               // RFC 4443 3.2
    static constexpr std::uint8_t kV6EchoRequest = 128, kV6EchoReply = 129;
    static constexpr std::uint8_t kNeighborSolicitation = 135, kNeighborAdvertisement = 136;
};
static_assert(sizeof(IcmpHeader) == 8);

// RFC 826 for Ethernet and IPv4
struct ArpHeader {
    Be16 hardware_type;  // 1
    Be16 protocol_type;  // 0x0800
    std::uint8_t hardware_length;
    std::uint8_t protocol_length;
    Be16 operation;  // 1 request, 2 reply
    MacAddress sender_mac;
    Ipv4Address sender;
    MacAddress target_mac;
    Ipv4Address target;
};
static_assert(sizeof(ArpHeader) == 28);

// RFC 4861 4.3, 4.4: neighbour solicitation and advertisement, without options.
struct NeighborMessage {
    IcmpHeader icmp;  // rest: flags of the advertisement
    Ipv6Address target;
};
static_assert(sizeof(NeighborMessage) == 24);

// RFC 4861 4.6.1: source (1) or target (2) link-layer address
struct LinkLayerOption {
    std::uint8_t type;
    std::uint8_t length;  // 8-byte units: 1
    MacAddress mac;
};
static_assert(sizeof(LinkLayerOption) == 8);

// draft-ietf-intarea-gue-09 3: variant 0, no flags, no options.
struct GueHeader {
    std::uint8_t variant_control_length;
    std::uint8_t protocol;  // IpProtocol of what follows
    Be16 flags;

    static constexpr std::uint16_t kPort = 6080;
};
static_assert(sizeof(GueHeader) == 4);

#pragma pack(pop)

}  // namespace weir
