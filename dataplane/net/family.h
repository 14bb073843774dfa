// What IPv4 and IPv6 differ in, as traits: each stage has one body for both families.
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/net/headers.h"

namespace weir {

struct V4 {
    using Header = Ipv4Header;
    using Address = Ipv4Address;
    using Key = FlowKeyV4;
    static constexpr Family kFamily = Family::v4;
    static constexpr EtherType kEtherType = EtherType::ipv4;
    static constexpr IpProtocol kIcmp = IpProtocol::icmp;
    static constexpr IpProtocol kEncapsulated = IpProtocol::ipv4;  // protocol number of "IPv4 inside"
    static std::uint8_t tos(const Header& header) noexcept { return header.tos; }
};

struct V6 {
    using Header = Ipv6Header;
    using Address = Ipv6Address;
    using Key = FlowKeyV6;
    static constexpr Family kFamily = Family::v6;
    static constexpr EtherType kEtherType = EtherType::ipv6;
    static constexpr IpProtocol kIcmp = IpProtocol::icmpv6;
    static constexpr IpProtocol kEncapsulated = IpProtocol::ipv6;
    static std::uint8_t tos(const Header& header) noexcept {
        return static_cast<std::uint8_t>(header.version_class_label.value() >> 20);
    }
};

}  // namespace weir
