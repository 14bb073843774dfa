// Receive-side scaling, as the NIC does it and as software computes it: which queue, and so which worker, a
// frame belongs to. Pure functions; any thread. The rule is ENA's (amzn-drivers README, "RSS"): TCP and UDP
// that are not fragments go to RETA[Toeplitz(key, 5-tuple without protocol)], all else to RETA[0].
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

struct rte_mbuf;

namespace weir {

using ToeplitzKey = std::array<std::uint8_t, 40>;

// The key of Microsoft's "Verifying the RSS hash calculation": its published vectors check weir and the NIC
// alike. A constant, so that a replay is the same on every machine; it need not be secret, because the worker
// is not the backend: selection and flow table have keys of their own.
inline constexpr ToeplitzKey kRssKey = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                        0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                        0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

// Addresses as they lie on the wire, ports as numbers.
using WireIpv4 = std::array<std::uint8_t, 4>;
using WireIpv6 = std::array<std::uint8_t, 16>;
[[nodiscard]] std::uint32_t rss_hash(const ToeplitzKey& key, const WireIpv4& source,
                                     const WireIpv4& destination, std::uint16_t source_port,
                                     std::uint16_t destination_port) noexcept;
[[nodiscard]] std::uint32_t rss_hash(const ToeplitzKey& key, const WireIpv6& source,
                                     const WireIpv6& destination, std::uint16_t source_port,
                                     std::uint16_t destination_port) noexcept;

// What each bit of the destination port adds to the hash, the port's lowest bit first: it is linear
// (tables/snat_ports.h of the data plane says what that is good for).
// `offset`: of the destination port, in bits of what is hashed. Bit n of it adds the key's 32 bits from bit n
// on.
inline constexpr std::size_t kRssPortV4 = 80, kRssPortV6 = 272;
[[nodiscard]] constexpr std::array<std::uint32_t, 16> rss_port_bits(const ToeplitzKey& key,
                                                                    std::size_t offset) noexcept {
    std::array<std::uint32_t, 16> bits{};
    for (std::size_t bit = 0; bit < bits.size(); ++bit)
        for (std::size_t i = offset + 15 - bit; i < offset + 47 - bit; ++i)
            bits[bit] = bits[bit] << 1 | (key[i / 8] >> (7 - i % 8) & 1u);
    return bits;
}

inline constexpr std::uint16_t kRetaSize = 128;

// What RetaTable(queues) says, without one.
[[nodiscard]] constexpr std::uint16_t rss_queue(std::uint32_t hash, std::uint16_t queues) noexcept {
    return static_cast<std::uint16_t>(hash % kRetaSize % queues);
}

// The NIC's redirection table: hash -> queue. Its size is a power of two.
class RetaTable {
  public:
    // Round-robin over the queues, which is what weir writes into a NIC. Precondition: queues > 0.
    explicit RetaTable(std::uint16_t queues, std::uint16_t size = kRetaSize) : entries_(size) {
        for (std::uint16_t i = 0; i < size; ++i) entries_[i] = static_cast<std::uint16_t>(i % queues);
    }
    explicit RetaTable(std::vector<std::uint16_t> entries) : entries_(std::move(entries)) {}

    [[nodiscard]] std::uint16_t queue(std::uint32_t hash) const noexcept {
        return entries_[hash & (entries_.size() - 1)];
    }
    [[nodiscard]] std::span<const std::uint16_t> entries() const noexcept { return entries_; }

  private:
    std::vector<std::uint16_t> entries_;
};

// The hash that a NIC with this key computes, of a frame that the function below looks through; absent: it is
// not steered by one.
[[nodiscard]] std::optional<std::uint32_t> rss_hash_of_frame(const rte_mbuf& frame,
                                                             const ToeplitzKey& key) noexcept;

// The queue that a NIC with this key and table would choose; looks through up to two VLAN tags, not through
// tunnels or IPv6 extension headers. Reads the frame's first segment.
[[nodiscard]] std::uint16_t rss_queue_of_frame(const rte_mbuf& frame, const ToeplitzKey& key,
                                               const RetaTable& table) noexcept;

}  // namespace weir
