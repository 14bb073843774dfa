#include "ctrl/tables/header_template.h"

#include <algorithm>
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"

namespace weir {
namespace {

// Appends headers to a record's template.
class TemplateWriter {
  public:
    explicit TemplateWriter(BackendRecord& record) : record_(record) { record_.header_length = 0; }

    template <class Header>
    void append(const Header& header) {
        std::memcpy(record_.header.data() + record_.header_length, &header, sizeof(header));
        record_.header_length = static_cast<std::uint8_t>(record_.header_length + sizeof(header));
    }

  private:
    BackendRecord& record_;
};

std::uint32_t sum_of_words(const Ipv4Header& header) {
    std::array<std::uint16_t, sizeof(Ipv4Header) / 2> words;
    std::memcpy(words.data(), &header, sizeof(header));
    std::uint32_t sum = 0;
    for (const std::uint16_t word : words) sum += word;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

Ipv4Header outer_v4(const BackendInput& input) {
    Ipv4Header header{};
    header.version_ihl = 0x45;
    header.ttl = kOuterTtl;
    header.source = input.hop.source.v4();
    header.destination = input.address.v4();
    return header;
}

Ipv6Header outer_v6(const BackendInput& input) {
    Ipv6Header header{};
    header.version_class_label = Be32(6u << 28);
    header.hop_limit = kOuterTtl;
    header.source = input.hop.source.v6();
    header.destination = input.address.v6();
    return header;
}

// Of the UDP checksum of GUE over IPv6: the pseudo-header's addresses and protocol, and the destination port.
std::uint32_t sum_of_udp_constants(const BackendInput& input) {
    const ChecksumSum pseudo =
        pseudo_header_sum(input.hop.source.v6(), input.address.v6(), IpProtocol::udp, 0);
    return fold(pseudo + Be16(GueHeader::kPort).raw());
}

RewritePath path_of(ForwardingMode mode, Family outer) {
    const bool v4 = outer == Family::v4;
    if (mode == ForwardingMode::dsr) return RewritePath::dsr;
    if (translates(mode)) return RewritePath::nat;
    if (mode == ForwardingMode::ipip) return v4 ? RewritePath::ipip_v4 : RewritePath::ipip_v6;
    return v4 ? RewritePath::gue_v4 : RewritePath::gue_v6;  // validate_config lets no other mode through
}

// Sets header, header_length, outer_sum and resolved.
void write_header(const BackendInput& input, const PortFacts& port, BackendRecord& record) {
    TemplateWriter writer(record);
    EthernetHeader ethernet{.destination = input.hop.mac, .source = port.mac, .type = Be16(0)};
    if (record.mode == ForwardingMode::dsr) {
        writer.append(ethernet);
        record.resolved = input.hop.resolved && input.hop.on_link;
        return;
    }
    if (translates(record.mode)) {
        writer.append(ethernet);
        NatTarget{.address = input.address.bytes(),
                  .id = input.id,
                  .port = Be16(input.port),
                  .identity = input.identity,
                  .family = input.address.family()}
            .put_in(record);
        record.resolved = input.hop.resolved;
        return;
    }
    record.resolved = input.hop.resolved && input.hop.has_source;
    if (!input.hop.has_source) return;
    if (input.address.is_v4()) {
        const Ipv4Header outer = outer_v4(input);
        ethernet.type = Be16(static_cast<std::uint16_t>(EtherType::ipv4));
        writer.append(ethernet);
        writer.append(outer);
        record.outer_sum = sum_of_words(outer);
    } else {
        ethernet.type = Be16(static_cast<std::uint16_t>(EtherType::ipv6));
        writer.append(ethernet);
        writer.append(outer_v6(input));
    }
    if (record.mode == ForwardingMode::gue) {
        writer.append(UdpHeader{.source = Be16(0),
                                .destination = Be16(GueHeader::kPort),
                                .length = Be16(0),
                                .checksum = Be16(0)});
        writer.append(GueHeader{.variant_control_length = 0, .protocol = 0, .flags = Be16(0)});
        if (!input.address.is_v4()) record.outer_sum = sum_of_udp_constants(input);
    }
}

}  // namespace

BackendRecord make_backend_record(const BackendInput& input, ForwardingMode mode, const PortFacts& port) {
    BackendRecord record;
    if (input.address == IpAddress{}) return record;  // of nobody
    // An absent one takes no packets of clients, but it may be probed as they would go (stages/probe.h).
    if (input.state == TrafficState::cut)
        record.cut_pool = input.pool;
    else if (input.state != TrafficState::absent)
        record.pool = input.pool;
    record.state = input.state;
    record.mode = input.forwarding.value_or(mode);
    record.path = path_of(record.mode, input.address.family());
    record.egress = input.hop.port;
    write_header(input, port, record);
    const std::size_t headers = record.header_length;
    record.header_length = static_cast<std::uint8_t>(headers + port.vlan.bytes());
    if (!record.resolved) return record;
    const std::size_t tunnel = headers - sizeof(EthernetHeader);
    record.max_packet_length = static_cast<std::uint16_t>(port.mtu - std::min<std::size_t>(port.mtu, tunnel));
    return record;
}

}  // namespace weir
