// Addresses and the small numbers of the headers, each a type of its own. Addresses are kept as they lie
// on the wire (network byte order). Trivially copyable; any thread.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "dataplane/net/byte_order.h"

namespace weir {

enum class Family : std::uint8_t { v4 = 4, v6 = 6 };

// IANA protocol numbers, as far as weir looks at them.
enum class IpProtocol : std::uint8_t {
    hop_by_hop = 0,
    icmp = 1,
    ipv4 = 4,
    tcp = 6,
    udp = 17,
    ipv6 = 41,
    routing = 43,
    fragment = 44,
    gre = 47,
    icmpv6 = 58,
    no_next_header = 59,
    destination_options = 60,
};

// A TCP or UDP port, as a number. ("port" alone is a DPDK ethdev port.)
enum class L4Port : std::uint16_t {};

struct MacAddress {
    std::array<std::uint8_t, 6> bytes;

    [[nodiscard]] constexpr bool is_multicast() const noexcept { return (bytes[0] & 1) != 0; }
    [[nodiscard]] constexpr bool is_zero() const noexcept { return *this == MacAddress{}; }
    friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) noexcept = default;
};

struct Ipv4Address {
    Be32 bits;

    friend constexpr bool operator==(Ipv4Address, Ipv4Address) noexcept = default;
};

struct Ipv6Address {
    std::array<std::uint8_t, 16> bytes;

    friend constexpr auto operator<=>(const Ipv6Address&, const Ipv6Address&) noexcept = default;
    // In two words: std::array's own comparison calls memcmp.
    friend constexpr bool operator==(const Ipv6Address& a, const Ipv6Address& b) noexcept {
        using Words = std::array<std::uint64_t, 2>;
        const auto x = std::bit_cast<Words>(a.bytes), y = std::bit_cast<Words>(b.bytes);
        return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
    }
};

// Either family. The bytes behind an IPv4 address are zero, so that equal addresses compare equal.
class IpAddress {
  public:
    constexpr IpAddress() noexcept = default;
    explicit IpAddress(Ipv4Address address) noexcept : family_(Family::v4) {
        std::memcpy(bytes_.data(), &address, sizeof(address));
    }
    explicit constexpr IpAddress(const Ipv6Address& address) noexcept
        : family_(Family::v6), bytes_(address.bytes) {}

    [[nodiscard]] constexpr Family family() const noexcept { return family_; }
    [[nodiscard]] constexpr bool is_v4() const noexcept { return family_ == Family::v4; }
    [[nodiscard]] constexpr unsigned bit_length() const noexcept { return is_v4() ? 32 : 128; }
    // Precondition: the family.
    [[nodiscard]] Ipv4Address v4() const noexcept {
        Ipv4Address address;
        std::memcpy(&address, bytes_.data(), sizeof(address));
        return address;
    }
    [[nodiscard]] constexpr Ipv6Address v6() const noexcept { return {bytes_}; }
    // 16 bytes; of an IPv4 address the first 4 count.
    [[nodiscard]] constexpr const std::array<std::uint8_t, 16>& bytes() const noexcept { return bytes_; }

    friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) noexcept = default;

  private:
    Family family_ = Family::v4;
    std::array<std::uint8_t, 16> bytes_{};
};

// An address with a prefix length: a network ("10.1.0.0/16"), or an interface address ("10.1.0.2/24").
struct IpPrefix {
    IpAddress address;
    std::uint8_t length = 0;

    // True if `other` is of the same family and agrees in the first `length` bits.
    [[nodiscard]] constexpr bool contains(const IpAddress& other) const noexcept {
        if (other.family() != address.family()) return false;
        for (unsigned bit = 0; bit < length; bit += 8) {
            const unsigned left = length - bit;
            const auto mask = static_cast<std::uint8_t>(left >= 8 ? 0xff : 0xff << (8 - left));
            if (((address.bytes()[bit / 8] ^ other.bytes()[bit / 8]) & mask) != 0) return false;
        }
        return true;
    }
    friend constexpr auto operator<=>(const IpPrefix&, const IpPrefix&) noexcept = default;
};

static_assert(sizeof(MacAddress) == 6 && sizeof(Ipv4Address) == 4 && sizeof(Ipv6Address) == 16);
static_assert(alignof(MacAddress) == 1 && alignof(Ipv4Address) == 1 && alignof(Ipv6Address) == 1);
static_assert(std::is_trivially_copyable_v<IpAddress>);

}  // namespace weir
