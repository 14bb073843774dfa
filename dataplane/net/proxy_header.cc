#include "dataplane/net/proxy_header.h"

#include <cstring>

namespace weir {

namespace {

constexpr std::array<std::uint8_t, 12> kV2Signature = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                                       0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr std::uint8_t kV2Proxy = 0x21;                   // version 2, command PROXY
constexpr std::uint8_t kInet = 0x10, kInet6 = 0x20;       // address family, upper half of the byte
constexpr std::uint8_t kStream = 0x01, kDatagram = 0x02;  // transport, lower half
constexpr std::size_t kIpv4Bytes = 4, kIpv6Bytes = 16;

}  // namespace

ProxyHeader::ProxyHeader(ClientIdentity identity, const ClientEnds& ends) noexcept {
    if (identity == ClientIdentity::proxy_v1)
        write_v1(ends);
    else
        write_v2(ends);
}

void ProxyHeader::put(const void* bytes, std::size_t count) noexcept {
    std::memcpy(bytes_.data() + size_, bytes, count);
    size_ += count;
}

void ProxyHeader::put_text(const char* text) noexcept { put(text, std::strlen(text)); }

void ProxyHeader::put_number(std::uint16_t number) noexcept {
    std::array<char, 5> digits;
    std::size_t first = digits.size();
    do {
        digits[--first] = static_cast<char>('0' + number % 10);
        number = static_cast<std::uint16_t>(number / 10);
    } while (number != 0);
    put(digits.data() + first, digits.size() - first);
}

void ProxyHeader::put_address(const std::array<std::uint8_t, 16>& address, Family family) noexcept {
    if (family == Family::v4) {
        for (std::size_t i = 0; i < kIpv4Bytes; ++i) {
            if (i != 0) bytes_[size_++] = '.';
            put_number(address[i]);
        }
        return;
    }
    constexpr const char* kHex = "0123456789abcdef";
    for (std::size_t i = 0; i < kIpv6Bytes; ++i) {
        if (i != 0 && i % 2 == 0) bytes_[size_++] = ':';
        bytes_[size_++] = static_cast<std::uint8_t>(kHex[address[i] >> 4]);
        bytes_[size_++] = static_cast<std::uint8_t>(kHex[address[i] & 15]);
    }
}

void ProxyHeader::write_v1(const ClientEnds& ends) noexcept {
    put_text(ends.family == Family::v4 ? "PROXY TCP4 " : "PROXY TCP6 ");
    put_address(ends.client, ends.family);
    put_text(" ");
    put_address(ends.vip, ends.family);
    put_text(" ");
    put_number(ends.client_port.value());
    put_text(" ");
    put_number(ends.vip_port.value());
    put_text("\r\n");
}

void ProxyHeader::write_v2(const ClientEnds& ends) noexcept {
    const bool v4 = ends.family == Family::v4;
    const std::size_t address = v4 ? kIpv4Bytes : kIpv6Bytes;
    const Be16 length(v4 ? kV2Ipv4 : kV2Ipv6);
    put(kV2Signature.data(), kV2Signature.size());
    bytes_[size_++] = kV2Proxy;
    bytes_[size_++] = static_cast<std::uint8_t>((v4 ? kInet : kInet6) |
                                                (ends.protocol == IpProtocol::tcp ? kStream : kDatagram));
    put(&length, sizeof(length));
    put(ends.client.data(), address);
    put(ends.vip.data(), address);
    put(&ends.client_port, sizeof(ends.client_port));
    put(&ends.vip_port, sizeof(ends.vip_port));
}

}  // namespace weir
