// Toeplitz as its definition says it, bit by bit: written apart from drivers/rss.cc, to judge it and what is
// built on its linearity. The key is the one of Microsoft's "Verifying the RSS hash calculation".
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace weir::toeplitz_reference {

inline constexpr std::array<std::uint8_t, 40> kKey = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

// The key's 32 bits from bit `at` on: what an input bit there adds to the hash.
inline std::uint32_t window(std::size_t at) {
    std::uint32_t bits = 0;
    for (std::size_t i = at; i < at + 32; ++i) bits = bits << 1 | (kKey[i / 8] >> (7 - i % 8) & 1u);
    return bits;
}

inline std::uint32_t hash(std::span<const std::uint8_t> input) {
    std::uint32_t hash = 0;
    for (std::size_t bit = 0; bit < input.size() * 8; ++bit)
        if ((input[bit / 8] >> (7 - bit % 8) & 1) != 0) hash ^= window(bit);
    return hash;
}

// Of each bit of a 16-bit field that begins at bit `offset` of the input, the field's lowest first.
inline std::array<std::uint32_t, 16> port_bits(std::size_t offset) {
    std::array<std::uint32_t, 16> bits{};
    for (std::size_t bit = 0; bit < bits.size(); ++bit) bits[bit] = window(offset + 15 - bit);
    return bits;
}

}  // namespace weir::toeplitz_reference
