// What makes a pool sticky: how much of a client's address counts, and for how long. Part of a PoolTable.
// Trivially copyable; any thread.
#pragma once

#include <cstdint>

#include "dataplane/ids.h"
#include "dataplane/net/aes_hash.h"
#include "dataplane/net/family.h"
#include "dataplane/state/flow_clock.h"

namespace weir {

struct StickyRule {
    TickCount duration = 0;  // 0: the pool is not sticky; at most kMaxTimeoutTicks
    Ipv4Address mask_v4{};
    Ipv6Address mask_v6{};

    [[nodiscard]] static constexpr StickyRule of(TickCount duration, unsigned prefix_v4,
                                                 unsigned prefix_v6) noexcept {
        StickyRule rule{.duration = duration};
        rule.mask_v4.bits =
            Be32(prefix_v4 == 0 ? 0 : ~std::uint32_t{0} << (32 - (prefix_v4 < 32 ? prefix_v4 : 32)));
        for (unsigned bit = 0; bit < prefix_v6 && bit < 128; ++bit)
            rule.mask_v6.bytes[bit / 8] =
                static_cast<std::uint8_t>(rule.mask_v6.bytes[bit / 8] | 0x80 >> bit % 8);
        return rule;
    }

    [[nodiscard]] bool is_on() const noexcept { return duration != 0; }

    [[nodiscard]] Ipv4Address prefix_of(Ipv4Address client) const noexcept {
        return {Be32::from_raw(client.bits.raw() & mask_v4.bits.raw())};
    }
    [[nodiscard]] Ipv6Address prefix_of(const Ipv6Address& client) const noexcept {
        Ipv6Address prefix;
        for (std::size_t i = 0; i < prefix.bytes.size(); ++i)
            prefix.bytes[i] = static_cast<std::uint8_t>(client.bytes[i] & mask_v6.bytes[i]);
        return prefix;
    }

    friend constexpr bool operator==(const StickyRule& a, const StickyRule& b) noexcept {
        return a.duration == b.duration && a.mask_v4 == b.mask_v4 && a.mask_v6 == b.mask_v6;
    }
};

// A pool and the client's prefix, under the key that all workers share: whose table has the client, and
// where. The families differ in the length of what is hashed.
template <class F>
[[nodiscard]] std::uint64_t client_hash(const HashKey& key, PoolId pool,
                                        const typename F::Address& prefix) noexcept {
    typename F::Key client{};
    client.source = prefix;
    client.source_port = Be16(static_cast<std::uint16_t>(index(pool) >> 16));
    client.destination_port = Be16(static_cast<std::uint16_t>(index(pool)));
    return keyed_hash(key, client);
}

// The worker that decides for a client. By 16 bits of the hash of which neither the entry's tag nor, in a
// table of fewer than 2^16 buckets, its place is made.
[[nodiscard]] constexpr std::uint32_t owner_of_client(std::uint64_t hash, std::uint32_t workers) noexcept {
    return ((static_cast<std::uint32_t>(hash >> 32) & 0xffff) * workers) >> 16;
}

}  // namespace weir
