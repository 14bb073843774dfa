#include "dataplane/net/aes_hash.h"

#include <algorithm>
#include <cstring>

namespace weir {
namespace {

constexpr std::size_t kAes256Rounds = 14;
using Schedule = std::array<portable::AesBlock, kAes256Rounds + 1>;

// FIPS-197 5.2 for Nk = 8.
Schedule expand(std::span<const std::uint8_t, kHashKeyBytes> secret) noexcept {
    std::array<std::array<std::uint8_t, 4>, 4 * (kAes256Rounds + 1)> words{};
    std::uint8_t round_constant = 1;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i < 8) {
            for (std::size_t b = 0; b < 4; ++b) words[i][b] = secret[4 * i + b];
            continue;
        }
        auto word = words[i - 1];
        if (i % 8 == 0) word = {word[1], word[2], word[3], word[0]};
        if (i % 4 == 0)
            for (auto& byte : word) byte = portable::kSbox[byte];
        if (i % 8 == 0) {
            word[0] = static_cast<std::uint8_t>(word[0] ^ round_constant);
            round_constant = portable::times_x(round_constant);
        }
        for (std::size_t b = 0; b < 4; ++b)
            words[i][b] = static_cast<std::uint8_t>(words[i - 8][b] ^ word[b]);
    }
    Schedule schedule{};
    for (std::size_t i = 0; i < words.size(); ++i)
        std::memcpy(&schedule[i / 4].bytes[4 * (i % 4)], words[i].data(), 4);
    return schedule;
}

portable::AesBlock encrypt(const Schedule& schedule, portable::AesBlock block) noexcept {
    block = block ^ schedule[0];
    for (std::size_t i = 1; i < kAes256Rounds; ++i) block = portable::aes_round(block, schedule[i]);
    return portable::sub_bytes_shift_rows(block) ^ schedule[kAes256Rounds];
}

}  // namespace

HashKey::HashKey(std::span<const std::uint8_t, kHashKeyBytes> secret) noexcept {
    const Schedule schedule = expand(secret);
    for (std::size_t i = 0; i < kRounds; ++i) {
        portable::AesBlock counter{};
        counter.bytes[0] = static_cast<std::uint8_t>(i);
        rounds_[i] = encrypt(schedule, counter).bytes;
    }
}

HashKey HashKey::zero() noexcept {
    constexpr std::array<std::uint8_t, kHashKeyBytes> kSecret{};
    return HashKey(kSecret);
}

std::uint64_t keyed_hash(const HashKey& key, std::string_view bytes) noexcept {
    AesBlock state = aes_hash::start(key, bytes.size());
    for (std::size_t at = 0; at < bytes.size(); at += 16) {
        std::uint8_t block[16] = {};
        std::memcpy(block, bytes.data() + at, std::min<std::size_t>(16, bytes.size() - at));
        state = aes_hash::absorb(key, state, load_block(block));
    }
    return aes_hash::finish(key, state);
}

}  // namespace weir
