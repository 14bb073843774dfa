// Integers in network byte order as a type of their own.
//
// A Big<T> is what lies on the wire. It becomes a number only through value(), and a number becomes one
// only through the explicit constructor: there is no implicit way in or out, so the two orders cannot be
// mixed by accident. Alignment 1, because a frame has its IP header at any byte. Trivially copyable; any
// thread.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace weir {

template <std::unsigned_integral T>
constexpr T byte_swapped(T value) noexcept {
    if constexpr (sizeof(T) == 1) return value;
    if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

// Of alignment 1, like what is made of it (addresses, headers): a reference to a header's field may be to any
// byte of a frame.
template <std::unsigned_integral T>
class [[gnu::packed]] Big {
  public:
    constexpr Big() noexcept = default;
    explicit constexpr Big(T host) noexcept : raw_(swap(host)) {}

    // The bytes as they lie on the wire, read as a number of this machine. For checksums and hashes.
    static constexpr Big from_raw(T raw) noexcept {
        Big big;
        big.raw_ = raw;
        return big;
    }
    [[nodiscard]] constexpr T value() const noexcept { return swap(raw_); }
    [[nodiscard]] constexpr T raw() const noexcept { return raw_; }

    friend constexpr bool operator==(Big, Big) noexcept = default;

  private:
    static constexpr T swap(T value) noexcept {
        return std::endian::native == std::endian::little ? byte_swapped(value) : value;
    }
    T raw_;
};

using Be16 = Big<std::uint16_t>;
using Be32 = Big<std::uint32_t>;
using Be64 = Big<std::uint64_t>;

static_assert(sizeof(Be16) == 2 && sizeof(Be32) == 4 && sizeof(Be64) == 8);
static_assert(alignof(Be16) == 1 && alignof(Be32) == 1 && alignof(Be64) == 1);
static_assert(std::is_trivially_copyable_v<Be32> && std::is_trivially_default_constructible_v<Be32>);
static_assert(Be16(0x1234).value() == 0x1234);

}  // namespace weir
