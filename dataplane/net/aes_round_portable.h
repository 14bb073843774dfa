// One AES encryption round and its parts, byte by byte (FIPS-197 5.1): the same bits on every machine.
//
// The twin of the instructions in aes_round.h, there for machines without them, for key expansion
// (aes_hash.cc) and as the reference that the tests hold the instructions against. Not constant-time: the
// inputs are packet headers, and an attacker who can time single table look-ups on this machine has won.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weir::portable {

// Byte i of the state lies in row i % 4, column i / 4.
struct AesBlock {
    std::array<std::uint8_t, 16> bytes;

    friend constexpr bool operator==(const AesBlock&, const AesBlock&) noexcept = default;
};

constexpr AesBlock operator^(const AesBlock& a, const AesBlock& b) noexcept {
    AesBlock result{};
    for (std::size_t i = 0; i < 16; ++i) result.bytes[i] = static_cast<std::uint8_t>(a.bytes[i] ^ b.bytes[i]);
    return result;
}

// Multiplication by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
constexpr std::uint8_t times_x(std::uint8_t a) noexcept {
    return static_cast<std::uint8_t>((a << 1) ^ ((a >> 7) * 0x1b));
}

// FIPS-197 5.1.1: inverse in GF(2^8), then an affine map. 3 generates the field's multiplicative group, so p
// runs over all its elements and q, divided by 3 each time, is the inverse of p.
consteval std::array<std::uint8_t, 256> make_sbox() noexcept {
    std::array<std::uint8_t, 256> sbox{};
    std::uint8_t p = 1, q = 1;
    do {
        p = static_cast<std::uint8_t>(p ^ times_x(p));
        q = static_cast<std::uint8_t>(q ^ (q << 1));
        q = static_cast<std::uint8_t>(q ^ (q << 2));
        q = static_cast<std::uint8_t>(q ^ (q << 4));
        q = static_cast<std::uint8_t>(q ^ ((q >> 7) * 0x09));
        unsigned affine = 0x63;
        for (unsigned turn = 0; turn < 5; ++turn)
            affine ^= ((static_cast<unsigned>(q) << turn) | (static_cast<unsigned>(q) >> (8 - turn))) & 0xff;
        sbox[p] = static_cast<std::uint8_t>(affine);
    } while (p != 1);
    sbox[0] = 0x63;  // 0 has no inverse and stands for its own
    return sbox;
}
inline constexpr std::array<std::uint8_t, 256> kSbox = make_sbox();
static_assert(kSbox[0x53] == 0xed, "the example of FIPS-197 5.1.1");

constexpr AesBlock sub_bytes_shift_rows(const AesBlock& state) noexcept {
    AesBlock result{};
    for (std::size_t i = 0; i < 16; ++i)  // row r moves left by r columns
        result.bytes[i] = kSbox[state.bytes[(i + 4 * (i % 4)) % 16]];
    return result;
}

constexpr AesBlock mix_columns(const AesBlock& state) noexcept {
    AesBlock result{};
    for (std::size_t column = 0; column < 16; column += 4) {
        const std::uint8_t* in = &state.bytes[column];
        const auto all = static_cast<std::uint8_t>(in[0] ^ in[1] ^ in[2] ^ in[3]);
        for (std::size_t row = 0; row < 4; ++row) {
            const auto pair = static_cast<std::uint8_t>(in[row] ^ in[(row + 1) % 4]);
            result.bytes[column + row] = static_cast<std::uint8_t>(in[row] ^ all ^ times_x(pair));
        }
    }
    return result;
}

constexpr AesBlock aes_round(const AesBlock& state, const AesBlock& key) noexcept {
    return mix_columns(sub_bytes_shift_rows(state)) ^ key;
}

constexpr AesBlock load_block(const std::uint8_t* bytes) noexcept {
    AesBlock block{};
    for (std::size_t i = 0; i < 16; ++i) block.bytes[i] = bytes[i];
    return block;
}

// The same sixteen bytes as two numbers, little-endian.
constexpr AesBlock block_of(std::uint64_t low, std::uint64_t high) noexcept {
    AesBlock block{};
    for (std::size_t i = 0; i < 8; ++i) {
        block.bytes[i] = static_cast<std::uint8_t>(low >> (8 * i));
        block.bytes[8 + i] = static_cast<std::uint8_t>(high >> (8 * i));
    }
    return block;
}

inline void store_block(void* bytes, const AesBlock& block) noexcept {
    std::memcpy(bytes, block.bytes.data(), block.bytes.size());
}

// The first eight bytes, little-endian.
constexpr std::uint64_t low_half(const AesBlock& block) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = 8; i-- > 0;) value = value << 8 | block.bytes[i];
    return value;
}

}  // namespace weir::portable
