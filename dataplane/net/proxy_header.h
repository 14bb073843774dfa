// The header of the PROXY protocol (HAProxy, proxy-protocol.txt): who has dialled which VIP.
//
// A pure function of the two ends: whoever makes it again makes the same bytes. IPv6 addresses of the text
// form stand in full (2.1 allows any form), so that its length follows from the ports alone. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/net/address.h"
#include "dataplane/net/byte_order.h"
#include "dataplane/net/client_identity.h"

namespace weir {

struct ClientEnds {
    std::array<std::uint8_t, 16> client, vip;  // an IPv4 address in the first four bytes
    Be16 client_port, vip_port;
    Family family;
    IpProtocol protocol;
};

class ProxyHeader {
  public:
    // 2.1: the longest line, of IPv6, is shorter than 107 bytes; 2.2: 16, and 36 of addresses.
    static constexpr std::size_t kLongest = 104;
    static constexpr std::uint8_t kV2Fixed = 16, kV2Ipv4 = 12, kV2Ipv6 = 36;

    // `identity`: proxy_v1 (of TCP only) or proxy_v2.
    ProxyHeader(ClientIdentity identity, const ClientEnds& ends) noexcept;

    [[nodiscard]] const std::uint8_t* data() const noexcept { return bytes_.data(); }
    [[nodiscard]] std::uint8_t size() const noexcept { return static_cast<std::uint8_t>(size_); }

  private:
    void put(const void* bytes, std::size_t count) noexcept;
    void put_text(const char* text) noexcept;
    void put_number(std::uint16_t number) noexcept;
    void put_address(const std::array<std::uint8_t, 16>& address, Family family) noexcept;
    void write_v1(const ClientEnds& ends) noexcept;
    void write_v2(const ClientEnds& ends) noexcept;

    std::size_t size_ = 0;
    std::array<std::uint8_t, kLongest> bytes_;
};

}  // namespace weir
