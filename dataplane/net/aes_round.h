// One AES encryption round as this machine does it best: AES-NI, the Arm crypto extension, or the portable
// twin. All three give the same bytes (tests/dataplane/net/aes_test.cc). Pure functions; any thread.
#pragma once

#include <bit>
#include <cstdint>

#include "dataplane/net/aes_round_portable.h"

#if defined(__AES__)
#include <wmmintrin.h>
#elif defined(__ARM_FEATURE_CRYPTO) || defined(__ARM_FEATURE_AES)
#include <arm_neon.h>
#define WEIR_ARM_AES 1
#endif

namespace weir {

#if defined(__AES__)

struct AesBlock {
    __m128i value;
};
inline AesBlock load_block(const std::uint8_t* bytes) noexcept {
    return {_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(bytes))};
}
inline AesBlock block_of(std::uint64_t low, std::uint64_t high) noexcept {
    return {_mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low))};
}
inline void store_block(void* bytes, AesBlock block) noexcept {
    _mm_storeu_si128(static_cast<__m128i_u*>(bytes), block.value);
}
inline AesBlock operator^(AesBlock a, AesBlock b) noexcept { return {_mm_xor_si128(a.value, b.value)}; }
inline AesBlock aes_round(AesBlock state, AesBlock key) noexcept {
    return {_mm_aesenc_si128(state.value, key.value)};
}
inline std::uint64_t low_half(AesBlock block) noexcept {
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(block.value));
}

#elif defined(WEIR_ARM_AES)

struct AesBlock {
    uint8x16_t value;
};
inline AesBlock load_block(const std::uint8_t* bytes) noexcept { return {vld1q_u8(bytes)}; }
inline AesBlock block_of(std::uint64_t low, std::uint64_t high) noexcept {
    return {vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)))};
}
inline void store_block(void* bytes, AesBlock block) noexcept {
    vst1q_u8(static_cast<std::uint8_t*>(bytes), block.value);
}
inline AesBlock operator^(AesBlock a, AesBlock b) noexcept { return {veorq_u8(a.value, b.value)}; }
// AESE adds its key before SubBytes where AES-NI adds it after MixColumns: so a zero key here and the real
// one by an xor behind.
inline AesBlock aes_round(AesBlock state, AesBlock key) noexcept {
    return {veorq_u8(vaesmcq_u8(vaeseq_u8(state.value, vdupq_n_u8(0))), key.value)};
}
// Element order equals byte order only on little-endian Arm, which is all that Linux distributions ship.
static_assert(std::endian::native == std::endian::little);
inline std::uint64_t low_half(AesBlock block) noexcept {
    return vgetq_lane_u64(vreinterpretq_u64_u8(block.value), 0);
}

#else

using portable::aes_round;
using portable::AesBlock;
using portable::block_of;
using portable::load_block;
using portable::low_half;
using portable::store_block;

#endif

}  // namespace weir
