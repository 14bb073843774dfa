// How a backend in mode nat, which sees weir's address as the source, is told whose packet it is.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace weir {

enum class ClientIdentity : std::uint8_t {
    none,
    proxy_v1,  // PROXY protocol, a line of text in front of a TCP stream (HAProxy, proxy-protocol.txt 2.1)
    proxy_v2,  // the binary one, in front of a TCP stream or of each datagram (2.2)
    toa,       // a TCP option with the client's address and port
};

inline constexpr std::array<std::string_view, 4> kClientIdentityNames = {"none", "proxy_v1", "proxy_v2",
                                                                         "toa"};

}  // namespace weir
