// A keyed hash of flow keys and names, built from AES rounds.
//
// Theory of operation. The input is absorbed in 16-byte blocks: xor the block into the state, then two AES
// rounds under secret round keys; four more rounds after the last block. Without the key nobody can tell
// which inputs share a bucket or a Maglev slot, which is all that is asked of it (it is no MAC). One AES
// round is one instruction on every CPU that weir runs on (aes_round.h); the portable twin gives the same
// bits, so appliances on x86 and Arm that share a key pick the same backends.
//
// The state starts as a round key xor the input's length, so that inputs of different lengths are different
// inputs. Two inputs of one length that differ collide with odds of about 2^-64 (the output) plus at most
// 2^-30 per pair of blocks whose differences an attacker has to make cancel over two rounds (five active
// S-boxes at 2^-6 each) without seeing any output.
//
// Key expansion: round key i is the AES-256 encryption (FIPS-197) of the block {i, 0, ..., 0} under the
// secret.
//
// Pure functions; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "dataplane/net/aes_round.h"
#include "dataplane/net/flow_key.h"

namespace weir {

inline constexpr std::size_t kHashKeyBytes = 32;

// A 32-byte secret expanded to round keys. The zero key is valid (and what replay uses without a key file).
class HashKey {
  public:
    static constexpr std::size_t kRounds = 6;

    explicit HashKey(std::span<const std::uint8_t, kHashKeyBytes> secret) noexcept;
    static HashKey zero() noexcept;

    [[nodiscard]] const std::uint8_t* round(std::size_t i) const noexcept { return rounds_[i].data(); }

  private:
    alignas(16) std::array<std::array<std::uint8_t, 16>, kRounds> rounds_;
};

namespace aes_hash {

inline AesBlock key_block(const HashKey& key, std::size_t i) noexcept { return load_block(key.round(i)); }

inline AesBlock start(const HashKey& key, std::uint64_t length) noexcept {
    return key_block(key, 5) ^ block_of(length, 0);
}
inline AesBlock absorb(const HashKey& key, AesBlock state, AesBlock block) noexcept {
    return aes_round(aes_round(state ^ block, key_block(key, 0)), key_block(key, 1));
}
inline std::uint64_t finish(const HashKey& key, AesBlock state) noexcept {
    for (std::size_t i = 2; i < HashKey::kRounds; ++i) state = aes_round(state, key_block(key, i));
    return low_half(state);
}

}  // namespace aes_hash

[[nodiscard]] inline std::uint64_t keyed_hash(const HashKey& key, const FlowKeyV4& flow) noexcept {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&flow);
    const AesBlock state = aes_hash::start(key, sizeof(flow));
    return aes_hash::finish(key, aes_hash::absorb(key, state, load_block(bytes)));
}
[[nodiscard]] inline std::uint64_t keyed_hash(const HashKey& key, const FlowKeyV6& flow) noexcept {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&flow);
    AesBlock state = aes_hash::start(key, sizeof(flow));
    for (std::size_t at = 0; at < sizeof(flow); at += 16)
        state = aes_hash::absorb(key, state, load_block(bytes + at));
    return aes_hash::finish(key, state);
}
// Any bytes; the last block is filled up with zeros, the length is part of the input. Names that are hashed
// together need a separation of their own: "a" + "" and "" + "a" are the same bytes.
[[nodiscard]] std::uint64_t keyed_hash(const HashKey& key, std::string_view bytes) noexcept;

}  // namespace weir
