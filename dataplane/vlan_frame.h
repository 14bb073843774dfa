// VLAN tags on mbufs: read, taken off, put in front. The worker that holds the packet only.
//
// Between receive and transmit weir's frames are untagged. A device may have taken tags off on its own and
// say so in the mbuf (RTE_MBUF_F_RX_VLAN_STRIPPED): they count like tags in the frame, and stand before
// those. A single tag with VLAN id 0 bears a priority and no VLAN (IEEE 802.1Q 6.9.1): such a frame counts as
// untagged. Priority and drop eligibility are not looked at, and sent as 0.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "dataplane/net/drop_reason.h"
#include "dataplane/net/headers.h"
#include "dataplane/net/vlan_tags.h"
#include "dataplane/packet.h"

namespace weir {

inline constexpr std::uint32_t kMostVlanTags = 2;
// Every frame that a device receives has room for a port's tags: answers go back in place.
static_assert(RTE_PKTMBUF_HEADROOM >= kMostVlanTags * sizeof(VlanTag));

// What stands before a frame's EtherType.
struct FrameTags {
    VlanTags ids;                              // neither for an untagged frame nor for a priority tag
    std::uint8_t bytes = 0;                    // of tags in the frame itself
    DropReason reason = DropReason::vlan_tag;  // kNotDropped: `ids` and `bytes` are right
};

namespace detail {

inline constexpr std::uint64_t kStrippedTags = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED;

inline bool is_tag_type(Be16 type) noexcept {
    return type == Be16(static_cast<std::uint16_t>(EtherType::vlan)) ||
           type == Be16(static_cast<std::uint16_t>(EtherType::qinq));
}

// The ids of a frame's tags, the outermost first, as they are found.
class TagList {
  public:
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    void add(std::uint16_t control) noexcept { ids_[size_++] = control & VlanTag::kIdMask; }
    // No port has an id 0 among two: a priority tag counts as none only where it is alone.
    [[nodiscard]] bool may_be_a_port() const noexcept { return size_ < 2 || (ids_[0] != 0 && ids_[1] != 0); }
    [[nodiscard]] VlanTags ids() const noexcept { return {ids_[0], ids_[1]}; }

  private:
    std::array<std::uint16_t, kMostVlanTags> ids_{};
    std::uint32_t size_ = 0;
};

}  // namespace detail

// One that the device took off the frame.
inline bool has_stripped_tag(const rte_mbuf* packet) noexcept {
    return (packet->ol_flags & detail::kStrippedTags) != 0;
}
// That, or one in the frame. Precondition: the Ethernet header lies in the first segment.
inline bool has_tag(const rte_mbuf* packet) noexcept {
    return has_stripped_tag(packet) ||
           detail::is_tag_type(rte_pktmbuf_mtod(packet, const EthernetHeader*)->type);
}

// The tags of a frame. Reasons: runt_frame; segmented (a tag, or the EtherType, behind the first segment);
// vlan_tag for what no port can have: a third tag, a tag without an EtherType behind it, 802.1ad's EtherType
// other than before a second tag, an id 0 among two.
inline FrameTags read_tags(const rte_mbuf* packet) noexcept {
    const auto refuse = [packet](std::uint32_t needed, DropReason too_short) noexcept {
        return FrameTags{.reason = packet->pkt_len < needed ? too_short : DropReason::segmented};
    };
    std::uint32_t length = sizeof(EthernetHeader);
    if (packet->data_len < length) [[unlikely]]
        return refuse(length, DropReason::runt_frame);
    detail::TagList tags;
    if (has_stripped_tag(packet)) {
        if ((packet->ol_flags & RTE_MBUF_F_RX_QINQ_STRIPPED) != 0) tags.add(packet->vlan_tci_outer);
        tags.add(packet->vlan_tci);
    }
    const auto* at = rte_pktmbuf_mtod_offset(packet, const std::uint8_t*, offsetof(EthernetHeader, type));
    bool awaits_inner = false;  // an 802.1ad tag does
    for (;; at += sizeof(VlanTag)) {
        VlanTag tag;
        std::memcpy(&tag.type, at, sizeof(tag.type));
        if (!detail::is_tag_type(tag.type)) break;
        const bool is_qinq = tag.type == Be16(static_cast<std::uint16_t>(EtherType::qinq));
        if (tags.size() == kMostVlanTags || (is_qinq && tags.size() != 0)) return {};
        length += sizeof(VlanTag);
        if (packet->data_len < length) [[unlikely]]
            return refuse(length, DropReason::vlan_tag);
        std::memcpy(&tag, at, sizeof(tag));
        tags.add(tag.control.value());
        awaits_inner = is_qinq;
    }
    if (awaits_inner || !tags.may_be_a_port()) return {};
    return {.ids = tags.ids(),
            .bytes = static_cast<std::uint8_t>(length - sizeof(EthernetHeader)),
            .reason = kNotDropped};
}

// Takes the tags off the front, and what the device says of any. Precondition: `bytes` as read_tags() gave
// it.
inline void remove_tags(rte_mbuf* packet, std::uint32_t bytes) noexcept {
    packet->ol_flags &= ~(detail::kStrippedTags | RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_QINQ);
    if (bytes == 0) return;
    std::uint8_t* frame = frame_start(packet);
    std::array<std::uint8_t, 2 * sizeof(MacAddress)> macs;
    std::memcpy(macs.data(), frame, macs.size());
    std::memcpy(frame + bytes, macs.data(), macs.size());
    packet->data_off = static_cast<std::uint16_t>(packet->data_off + bytes);
    packet->data_len = static_cast<std::uint16_t>(packet->data_len - bytes);
    packet->pkt_len -= bytes;
}

// Puts a port's tags in front of frames that are about to leave by it: 802.1ad's EtherType for the outer of
// two. Whoever gives frames to a device calls this first, once per frame: what the device then refuses can
// only be freed. Precondition: headroom for them.
inline void put_tags(std::span<rte_mbuf* const> packets, VlanTags ids) noexcept {
    const bool two = ids.inner != 0;
    const std::array<VlanTag, kMostVlanTags> tags = {
        VlanTag{.type = Be16(static_cast<std::uint16_t>(two ? EtherType::qinq : EtherType::vlan)),
                .control = Be16(ids.outer)},
        VlanTag{.type = Be16(static_cast<std::uint16_t>(EtherType::vlan)), .control = Be16(ids.inner)}};
    const std::uint32_t bytes = ids.bytes();
    for (rte_mbuf* packet : packets) {
        std::array<std::uint8_t, 2 * sizeof(MacAddress)> macs;
        std::memcpy(macs.data(), frame_start(packet), macs.size());
        packet->data_off = static_cast<std::uint16_t>(packet->data_off - bytes);
        packet->data_len = static_cast<std::uint16_t>(packet->data_len + bytes);
        packet->pkt_len += bytes;
        std::uint8_t* frame = frame_start(packet);
        std::memcpy(frame, macs.data(), macs.size());
        std::memcpy(frame + macs.size(), tags.data(), bytes);
    }
}

}  // namespace weir
