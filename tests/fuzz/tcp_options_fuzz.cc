// libFuzzer target: the walk over TCP options, of a heap block of exactly their length, so that
// AddressSanitizer sees any read beyond them; and the overwriting of toa options that the packet path does.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "dataplane/net/tcp_options.h"

namespace {

using namespace weir;

void require(bool condition) {
    if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    size = std::min<std::size_t>(size, 40);
    const auto bytes = std::make_unique<std::uint8_t[]>(size);
    std::memcpy(bytes.get(), data, size);
    const std::span<std::uint8_t> options(bytes.get(), size);
    std::size_t end = 0;
    for_each_tcp_option(options, [&](TcpOption kind, std::span<std::uint8_t> option) {
        const auto at = static_cast<std::size_t>(option.data() - bytes.get());
        require(option.size() >= 2 && at >= end && at + option.size() <= size);
        end = at + option.size();
        if (kind == TcpOption::toa) std::ranges::fill(option, std::uint8_t{1});
    });
    for_each_tcp_option(options,
                        [](TcpOption kind, std::span<std::uint8_t>) { require(kind != TcpOption::toa); });
    return 0;
}
