// The 5-tuple of a frame that came out, less its protocol.
#pragma once

#include <cstring>

#include "tests/support/packet_builder.h"

namespace weir::test {

// The addresses and ports of a frame.
inline Tuple tuple_of(std::span<const std::uint8_t> frame) {
    const bool v4 = word_at(frame, 12) == 0x0800;
    const auto address = [&](std::size_t at) {
        if (v4) {
            Ipv4Address found;
            std::memcpy(&found, frame.data() + at, sizeof(found));
            return IpAddress(found);
        }
        Ipv6Address found;
        std::memcpy(&found, frame.data() + at, sizeof(found));
        return IpAddress(found);
    };
    const std::size_t l4 = v4 ? 34 : 54;
    return {address(v4 ? 26 : 22), address(v4 ? 30 : 38), word_at(frame, l4), word_at(frame, l4 + 2)};
}

inline Tuple turned(const Tuple& tuple) {
    return {tuple.destination, tuple.source, tuple.destination_port, tuple.source_port};
}
inline bool operator==(const Tuple& a, const Tuple& b) {
    return a.source == b.source && a.destination == b.destination && a.source_port == b.source_port &&
           a.destination_port == b.destination_port;
}

}  // namespace weir::test
