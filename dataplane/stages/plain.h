// plain: parse and classify at once, for the packets that nearly all are.
//
// A plain packet is TCP or UDP, unfragmented, without IP options or extension headers, its headers whole in
// the first segment, to one of our MACs and to a service on a single port, or a backend's reply. It passes
// the same checks that parse and classify make, with every offset a constant. Whatever fails one of them goes
// through parse and classify, which say what it is, or why it is dropped (tests/pipeline/plain_test.cc holds
// the two together).
#pragma once

#include "dataplane/burst.h"
#include "dataplane/net/prefetch.h"
#include "dataplane/packet.h"
#include "dataplane/stages/classify.h"
#include "dataplane/stages/parse.h"
#include "dataplane/state/flow_table.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

// An IPv4 header of 20 bytes in three words, each loaded once (RFC 791 3.1 for what stands where).
class PlainIpv4Header {
  public:
    explicit PlainIpv4Header(const std::uint8_t* bytes) noexcept
        : first_(detail::load64(bytes)),
          second_(detail::load64(bytes + 8)),
          destination_(detail::load32(bytes + 16)) {}

    // Version 4, no options, not a fragment (DF may be set).
    [[nodiscard]] bool is_plain() const noexcept {
        constexpr std::uint64_t kVersionLengthAndFragment = 0xff3f'0000'0000'00ff;
        return (first_ & kVersionLengthAndFragment) == Ipv4Header::kVersion4NoOptions;
    }
    [[nodiscard]] std::uint16_t total_length() const noexcept {
        return Be16::from_raw(static_cast<std::uint16_t>(first_ >> 16)).value();
    }
    [[nodiscard]] std::uint8_t ttl() const noexcept { return static_cast<std::uint8_t>(second_); }
    [[nodiscard]] IpProtocol protocol() const noexcept {
        return static_cast<IpProtocol>(static_cast<std::uint8_t>(second_ >> 8));
    }
    [[nodiscard]] Ipv4Address source() const noexcept {
        return {Be32::from_raw(static_cast<std::uint32_t>(second_ >> 32))};
    }
    [[nodiscard]] Ipv4Address destination() const noexcept { return {Be32::from_raw(destination_)}; }
    // RFC 1071 2(C): the order of additions is free, and a carry out comes back in.
    [[nodiscard]] bool checksum_ok() const noexcept {
        std::uint64_t sum;
        const bool carry = __builtin_add_overflow(first_, second_, &sum);
        sum += carry ? 1 : 0;  // two summands: no carry again
        const bool again = __builtin_add_overflow(sum, destination_, &sum);
        return fold(sum + (again ? 1 : 0)) == 0xffff;
    }

  private:
    std::uint64_t first_, second_;
    std::uint32_t destination_;
};

// What the loop over a burst needs, by value: nothing that is stored into the burst can change it.
class PlainContext {
  public:
    PlainContext(const PortRecord& port, const ClassifyContext& context) noexcept
        : key_(context.flow_hash_key),
          world_(context.world),
          services_(context.world.services),
          flows_(context.flows),
          takes_replies_(port.takes_replies()) {
        // The six bytes of a MAC in the upper part of a word, as load_mac() gives them.
        std::uint64_t mac = 0;
        std::memcpy(&mac, port.mac.bytes.data(), sizeof(port.mac));
        constexpr std::uint64_t kMulticastBit = 1 << 16;
        mac_mask_ = port.any_destination_mac ? kMulticastBit : ~std::uint64_t{0};
        mac_ = port.any_destination_mac ? 0 : mac << 16;
    }

    // False, and nothing is changed, if the packet is not a plain one of the family.
    template <class F>
    [[gnu::always_inline]] bool take(Burst& burst, std::uint32_t i) const noexcept {
        const rte_mbuf* packet = burst.packet[i];
        if (packet->data_len < kShortest<F>) [[unlikely]]
            return false;
        const std::uint8_t* frame = rte_pktmbuf_mtod(packet, const std::uint8_t*);
        const std::uint64_t source_and_type = detail::load64(frame + offsetof(EthernetHeader, source));
        const auto type = Be16::from_raw(static_cast<std::uint16_t>(source_and_type >> 48));
        if (type != Be16(static_cast<std::uint16_t>(F::kEtherType))) [[unlikely]]
            return false;
        if ((source_and_type & 1) != 0 || source_and_type << 16 == 0) [[unlikely]]
            return false;
        if (((detail::load64(frame) << 16) & mac_mask_) != mac_) [[unlikely]]
            return false;
        if (has_stripped_tag(packet)) [[unlikely]]
            return false;
        return take_ip(burst, i, packet, F{});
    }

  private:
    template <class F>
    static constexpr std::uint32_t kShortest = sizeof(EthernetHeader) + sizeof(typename F::Header) +
                                               sizeof(TcpHeader);

    [[gnu::always_inline]] bool take_ip(Burst& burst, std::uint32_t i, const rte_mbuf* packet,
                                        V4) const noexcept {
        PacketBytes bytes = l3_bytes(packet);
        const PlainIpv4Header ip(bytes.data);
        if (!ip.is_plain() || ip.total_length() > bytes.length || ip.ttl() == 0) [[unlikely]]
            return false;
        if (is_martian_source(ip.source())) [[unlikely]]
            return false;
        if (ip.source() == ip.destination()) [[unlikely]]
            return false;
        if (!detail::has_good_checksum(packet) && !ip.checksum_ok()) [[unlikely]]
            return false;
        bytes.length = ip.total_length();
        const L4Location l4{.protocol = ip.protocol(), .offset = sizeof(Ipv4Header), .fragment = false};
        return take_l4<V4>(burst, i, bytes, l4);
    }
    [[gnu::always_inline]] bool take_ip(Burst& burst, std::uint32_t i, const rte_mbuf* packet,
                                        V6) const noexcept {
        PacketBytes bytes = l3_bytes(packet);
        std::uint16_t ip_length = 0;
        if (check_ip_header(bytes, true, V6{}, ip_length) != kNotDropped) [[unlikely]]
            return false;
        const L4Location l4{.protocol = static_cast<IpProtocol>(bytes.at<Ipv6Header>(0).next_header),
                            .offset = sizeof(Ipv6Header),
                            .fragment = false};
        bytes.length = ip_length;
        return take_l4<V6>(burst, i, bytes, l4);
    }

    // Protocols apart, so that each has its tables and events as constants.
    template <class F>
    [[gnu::always_inline]] bool take_l4(Burst& burst, std::uint32_t i, const PacketBytes& bytes,
                                        L4Location l4) const noexcept {
        if (l4.protocol == IpProtocol::tcp) {
            l4.protocol = IpProtocol::tcp;
            return take_flow<F>(burst, i, bytes, l4);
        }
        if (l4.protocol != IpProtocol::udp) [[unlikely]]
            return false;
        l4.protocol = IpProtocol::udp;
        return take_flow<F>(burst, i, bytes, l4);
    }
    template <class F>
    [[gnu::always_inline]] bool take_flow(Burst& burst, std::uint32_t i, const PacketBytes& bytes,
                                          const L4Location& l4) const noexcept {
        if (check_l4(bytes, l4) != kNotDropped) [[unlikely]]
            return false;
        const ServiceId service =
            services_.find_exact(bytes.at<typename F::Header>(0).destination, l4.protocol,
                                 bytes.at<UdpHeader>(l4.offset).destination);
        if (service == kNoService) [[unlikely]]
            return takes_replies_ && take_reply<F>(burst, i, bytes, l4);
        burst.ip_length[i] = static_cast<std::uint16_t>(bytes.length);
        detail::begin_flow<F>(burst, i, bytes, l4, service, key_, flows_);
        return true;
    }

    // Of modes nat and dnat.
    template <class F>
    bool take_reply(Burst& burst, std::uint32_t i, const PacketBytes& bytes,
                    const L4Location& l4) const noexcept {
        burst.ip_length[i] = static_cast<std::uint16_t>(bytes.length);
        burst.l4_offset[i] = l4.offset;
        return detail::take_reply<F>(burst, i, bytes, l4, world_);
    }

    HashKey key_;
    std::uint64_t mac_, mac_mask_;
    const ForwardingSnapshot& world_;
    const ServiceTable& services_;
    const FlowTable& flows_;
    bool takes_replies_;
};

}  // namespace weir
