#include "ctrl/announce/announcement_frame.h"

#include <array>

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"

namespace weir {
namespace {

// All of alignment 1, as every header is: no padding.
struct ArpFrame {
    EthernetHeader ethernet;
    ArpHeader arp;
    std::array<std::uint8_t, 18> padding;
};
struct AdvertisementFrame {
    EthernetHeader ethernet;
    Ipv6Header ip;
    NeighborMessage message;
    LinkLayerOption option;
};
static_assert(sizeof(ArpFrame) == 60 && sizeof(AdvertisementFrame) == 86);

template <class Frame>
std::vector<std::uint8_t> bytes_of(const Frame& frame) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&frame);
    return {bytes, bytes + sizeof(frame)};
}

constexpr Be16 wire(EtherType type) { return Be16(static_cast<std::uint16_t>(type)); }

std::vector<std::uint8_t> arp_announcement(Ipv4Address vip, const MacAddress& mac) {
    constexpr MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    return bytes_of(ArpFrame{.ethernet = {kBroadcast, mac, wire(EtherType::arp)},
                             .arp = {.hardware_type = Be16(1),
                                     .protocol_type = wire(EtherType::ipv4),
                                     .hardware_length = sizeof(MacAddress),
                                     .protocol_length = sizeof(Ipv4Address),
                                     .operation = Be16(1),
                                     .sender_mac = mac,
                                     .sender = vip,
                                     .target_mac = {},
                                     .target = vip},
                             .padding = {}});
}

std::vector<std::uint8_t> neighbor_advertisement(const Ipv6Address& vip, const MacAddress& mac) {
    constexpr MacAddress kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};
    constexpr Ipv6Address kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    constexpr std::uint32_t kOverride = 0x2000'0000;
    constexpr std::uint8_t kHopLimit = 255;  // RFC 4861 7.1.2: else it is not believed
    constexpr std::uint8_t kTargetLinkLayer = 2;
    constexpr std::uint16_t kLength = sizeof(NeighborMessage) + sizeof(LinkLayerOption);
    AdvertisementFrame frame{.ethernet = {kAllNodesMac, mac, wire(EtherType::ipv6)},
                             .ip = {.version_class_label = Be32(6u << 28),
                                    .payload_length = Be16(kLength),
                                    .next_header = static_cast<std::uint8_t>(IpProtocol::icmpv6),
                                    .hop_limit = kHopLimit,
                                    .source = vip,
                                    .destination = kAllNodes},
                             .message = {.icmp = {.type = IcmpHeader::kNeighborAdvertisement,
                                                  .code = 0,
                                                  .checksum = Be16(0),
                                                  .rest = Be32(kOverride)},
                                         .target = vip},
                             .option = {kTargetLinkLayer, 1, mac}};
    frame.message.icmp.checksum = checksum_of(sum_of_bytes(&frame.message, sizeof(frame.message)) +
                                              sum_of_bytes(&frame.option, sizeof(frame.option)) +
                                              pseudo_header_sum(vip, kAllNodes, IpProtocol::icmpv6, kLength));
    return bytes_of(frame);
}

}  // namespace

std::vector<std::uint8_t> announcement_frame(const IpAddress& vip, const MacAddress& mac) {
    return vip.is_v4() ? arp_announcement(vip.v4(), mac) : neighbor_advertisement(vip.v6(), mac);
}

}  // namespace weir
