// A packet's 5-tuple as the keyed hash takes it: the blocks of FlowKeyV4 and FlowKeyV6, straight from the
// packet's bytes into registers. Pure functions; any thread.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "dataplane/net/aes_hash.h"
#include "dataplane/net/flow_key.h"

namespace weir {

namespace detail {

static_assert(std::endian::native == std::endian::little, "words are composed the way they lie in memory");

inline std::uint64_t load64(const std::uint8_t* bytes) noexcept {
    std::uint64_t word;
    std::memcpy(&word, bytes, sizeof(word));
    return word;
}
inline std::uint32_t load32(const std::uint8_t* bytes) noexcept {
    std::uint32_t word;
    std::memcpy(&word, bytes, sizeof(word));
    return word;
}
// Both ports, and the protocol behind them.
inline std::uint64_t ports_word(const std::uint8_t* l4, IpProtocol protocol) noexcept {
    return load32(l4) | std::uint64_t{static_cast<std::uint8_t>(protocol)} << 32;
}

}  // namespace detail

// `addresses` points at the source address, which the destination follows; `l4` at the ports.
struct FlowBlocksV4 {
    AesBlock all;

    static FlowBlocksV4 of(const std::uint8_t* addresses, const std::uint8_t* l4,
                           IpProtocol protocol) noexcept {
        return {block_of(detail::load64(addresses), detail::ports_word(l4, protocol))};
    }
    using Key = FlowKeyV4;
    [[nodiscard]] Key key() const noexcept {
        Key made;
        store_block(&made, all);
        return made;
    }
    [[nodiscard]] std::uint64_t hash(const HashKey& key) const noexcept {
        return aes_hash::finish(key, aes_hash::absorb(key, aes_hash::start(key, sizeof(FlowKeyV4)), all));
    }
};

struct FlowBlocksV6 {
    AesBlock source, destination, ports;

    static FlowBlocksV6 of(const std::uint8_t* addresses, const std::uint8_t* l4,
                           IpProtocol protocol) noexcept {
        return {load_block(addresses), load_block(addresses + sizeof(Ipv6Address)),
                block_of(detail::ports_word(l4, protocol), 0)};
    }
    using Key = FlowKeyV6;
    [[nodiscard]] Key key() const noexcept {
        Key made;
        auto* bytes = reinterpret_cast<std::uint8_t*>(&made);
        store_block(bytes, source);
        store_block(bytes + 16, destination);
        store_block(bytes + 32, ports);
        return made;
    }
    [[nodiscard]] std::uint64_t hash(const HashKey& key) const noexcept {
        AesBlock state = aes_hash::start(key, sizeof(FlowKeyV6));
        for (const AesBlock& block : {source, destination, ports})
            state = aes_hash::absorb(key, state, block);
        return aes_hash::finish(key, state);
    }
};

}  // namespace weir
