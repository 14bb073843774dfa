// A keyed hash of flow keys and names, built from AES rounds.
//
// Theory of operation. The input is absorbed in 16-byte blocks: xor the block into the state, then two AES
// rounds under secret round keys; four more rounds after the last block. Without the key nobody can tell
// which inputs share a bucket or a Maglev slot, which is all that is asked of it (it is no MAC). One AES
// round is one instruction on every CPU that weir runs on (aes_round.h); the portable twin gives the same
// bits, so appliances on x86 and Arm that share a key pick the same backends.
//
// Pure functions; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

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
    alignas(64) std::array<std::array<std::uint8_t, 16>, kRounds> rounds_;
};

[[nodiscard]] std::uint64_t keyed_hash(const HashKey& key, const FlowKeyV4& flow) noexcept;
[[nodiscard]] std::uint64_t keyed_hash(const HashKey& key, const FlowKeyV6& flow) noexcept;
// Any bytes; the length is part of the input ("a" + "" differs from "" + "a" only by what the caller puts
// between).
[[nodiscard]] std::uint64_t keyed_hash(const HashKey& key, std::string_view bytes) noexcept;

}  // namespace weir
