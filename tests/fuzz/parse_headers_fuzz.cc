// libFuzzer target: the parser's entry points over arbitrary bytes. The bytes are copied to a heap block of
// exactly their length, so that AddressSanitizer sees any read beyond them; a prefix is declared contiguous,
// as in an mbuf chain.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "dataplane/net/parse_headers.h"

namespace {

using namespace weir;

// What the packet path relies on after a passed check.
void require(bool condition) {
    if (!condition) std::abort();
}

template <class Family>
void parse(PacketBytes packet) {
    std::uint16_t ip_length = 0;
    if (check_ip_header(packet, false, Family{}, ip_length) != kNotDropped) return;
    require(ip_length <= packet.length && ip_length >= sizeof(typename Family::Header));
    packet.length = ip_length;
    if (packet.contiguous > ip_length) packet.contiguous = ip_length;
    L4Location l4;
    if (find_l4(packet, Family{}, l4) != kNotDropped || l4.fragment) return;
    require(l4.offset <= ip_length);
    if (l4.protocol != IpProtocol::tcp && l4.protocol != IpProtocol::udp) return;
    if (check_l4(packet, l4) != kNotDropped) return;
    const auto key = flow_blocks_of(packet, l4, Family{}).key();
    require(key.protocol == l4.protocol && key.source == packet.at<typename Family::Header>(0).source &&
            key.destination_port == packet.at<UdpHeader>(l4.offset).destination);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const auto split = static_cast<std::uint32_t>(data[0]);
    const auto length = static_cast<std::uint32_t>(size - 1);
    const std::uint32_t contiguous = split == 0 || split > length ? length : split;
    const auto bytes = std::make_unique<std::uint8_t[]>(contiguous);
    std::memcpy(bytes.get(), data + 1, contiguous);
    parse<V4>({bytes.get(), contiguous, length});
    parse<V6>({bytes.get(), contiguous, length});
    return 0;
}
