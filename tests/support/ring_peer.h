// The far end of a RingDevice: sends frames into its queues and judges what comes out. One thread.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <deque>
#include <span>
#include <thread>
#include <vector>

#include "tests/support/ring_device.h"
#include "tests/support/small_world.h"

namespace weir::test {

// The far end of the wire. Keeps its frames for itself: none goes through the pool while threads run. A queue
// is first in, first out, so the n-th frame out is the n-th in.
class Peer {
  public:
    static constexpr std::size_t kInFlight = 192;

    Peer(RingDevice& device, const FramePool& pool) : device_(device) {
        for (std::size_t i = 0; i < RingDevice::kQueues * kInFlight; ++i)
            idle_.push_back(pool.frame(Bytes(60)));
        home_ = idle_[0]->data_off;
    }
    ~Peer() {
        for (rte_mbuf* frame : idle_) rte_pktmbuf_free(frame);
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    [[nodiscard]] bool may_send(unsigned queue) const { return flying_[queue].size() < kInFlight; }
    void send(unsigned queue, const Bytes& bytes, std::uint32_t tag) {
        rte_mbuf* frame = idle_.back();
        idle_.pop_back();
        frame->data_off = home_;
        frame->data_len = static_cast<std::uint16_t>(bytes.size());
        frame->pkt_len = frame->data_len;
        std::copy(bytes.begin(), bytes.end(), rte_pktmbuf_mtod(frame, std::uint8_t*));
        ASSERT_TRUE(device_.give(queue, frame));
        flying_[queue].push_back(tag);
        ++sent_[queue];
    }
    // Everything that has come out: judge(tag, bytes).
    template <class Judge>
    std::size_t receive(unsigned queue, Judge&& judge) {
        std::size_t count = 0;
        for (; rte_mbuf* frame = device_.take(queue); ++count) {
            judge(flying_[queue].front(),
                  std::span<const std::uint8_t>(rte_pktmbuf_mtod(frame, std::uint8_t*), frame->data_len));
            flying_[queue].pop_front();
            idle_.push_back(frame);
        }
        if (count == 0) std::this_thread::yield();
        return count;
    }
    template <class Judge>
    void drain(Judge&& judge, std::chrono::steady_clock::time_point deadline) {
        for (unsigned q = 0; q < RingDevice::kQueues; ++q)
            while (!flying_[q].empty() && std::chrono::steady_clock::now() < deadline) receive(q, judge);
    }
    [[nodiscard]] std::uint64_t sent(unsigned queue) const { return sent_[queue]; }
    [[nodiscard]] bool all_back() const { return flying_[0].empty() && flying_[1].empty(); }

  private:
    RingDevice& device_;
    std::vector<rte_mbuf*> idle_;
    std::uint16_t home_ = 0;
    std::array<std::deque<std::uint32_t>, RingDevice::kQueues> flying_;
    std::array<std::uint64_t, RingDevice::kQueues> sent_{};
};

}  // namespace weir::test
