#include "tests/bench/lane.h"

#include <cstdio>
#include <cstdlib>

namespace weir::bench {

namespace {

// TimeoutsConfig's tcp_opening: how long a flow lives after its only packet.
constexpr std::uint64_t kOpeningTicks = 10 * kTicksPerSecond;

FloorHeader floor_header() {
    FloorHeader header{};
    for (std::size_t i = 0; i < header.bytes.size(); ++i) header.bytes[i] = static_cast<std::uint8_t>(2 * i);
    return header;
}

std::span<FloorLine> lines_in(const HugeMemory& memory, std::uint64_t slots) {
    return {reinterpret_cast<FloorLine*>(memory.bytes().data()),
            FlowTable::bytes_for(slots) / sizeof(FloorLine)};
}

}  // namespace

Tick real_tick() noexcept {
    return Tick{static_cast<std::uint32_t>(rte_rdtsc() / (rte_get_tsc_hz() / kTicksPerSecond))};
}

FloorLane::FloorLane(const Row& row)
    : row_(row),
      traffic_(row),
      memory_(memory_or_exit(FlowTable::bytes_for(slots_for(row.flows)))),
      floor_(lines_in(memory_, slots_for(row.flows)), HashKey::zero(), floor_header()) {
    // Every page present, as those of a table in use are.
    for (FloorLine& line : lines_in(memory_, slots_for(row.flows))) line.words[0] = 1;
}

double FloorLane::slice(const Mbufs& mbufs) {
    return timed_slice([&] { traffic_.write(mbufs); },
                       [&] {
                           for (std::size_t at = 0; at < kBatch; at += Floor::kBurst) {
                               const auto burst = std::span(mbufs).subspan(at, Floor::kBurst);
                               for (rte_mbuf* packet : burst)
                                   rte_prefetch0(rte_pktmbuf_mtod(packet, const void*));
                               if (row_.family == Family::v4)
                                   floor_.run<Ipv4Header>(burst);
                               else
                                   floor_.run<Ipv6Header>(burst);
                           }
                       });
}

WeirLane::WeirLane(const Row& row, const Mbufs& mbufs)
    : row_(row), traffic_(row), world_(row), worker_(world_, row, slots_for(row.flows)) {
    if (row.mode == ForwardingMode::nat && row.mix == Mix::established) replies_.emplace(row);
    if (row.mix != Mix::fresh) make_known(mbufs);
    if (row.mix != Mix::established) fill_with_fresh(mbufs);
    check_all_forwarded();
}

// Fresh flows come with a clock of their own, by which just so many of them are alive as the row says;
// otherwise time is real.
Tick WeirLane::now() const noexcept {
    if (row_.mix == Mix::fresh || row_.mix == Mix::half)
        return Tick{static_cast<std::uint32_t>(traffic_.fresh() * kOpeningTicks / traffic_.fresh_alive())};
    if (row_.mix == Mix::syn_flood) return Tick{1};
    return real_tick();
}

// The backends' part of a handshake, or their first datagrams.
void WeirLane::answer(std::span<rte_mbuf* const> translated, std::uint32_t first) {
    for (std::uint32_t i = 0; i < translated.size(); ++i) {
        replies_->note(first + i, *translated[i]);
        replies_->write(traffic_, *translated[i], first + i, TcpHeader::kSyn | TcpHeader::kAck);
    }
    run(translated);
}

// SYN and ACK of every flow; of UDP two datagrams.
void WeirLane::make_known(std::span<rte_mbuf* const> mbufs) {
    for (std::uint32_t first = 0; first < traffic_.known(); first += kBatch) {
        const auto count = std::min<std::size_t>(kBatch, traffic_.known() - first);
        for (const std::uint8_t flags : {TcpHeader::kSyn, TcpHeader::kAck}) {
            for (std::uint32_t i = 0; i < count; ++i) traffic_.write_flow(*mbufs[i], first + i, flags);
            run(mbufs.first(count));
            if (replies_ && flags == TcpHeader::kSyn) answer(mbufs.first(count), first);
        }
    }
}

// Until as many are alive as the row says, or the table is full; and once more as many, so that the oldest
// have begun to expire.
void WeirLane::fill_with_fresh(const Mbufs& mbufs) {
    while (traffic_.fresh() < 2 * worker_.flows().capacity()) {
        traffic_.write(mbufs);
        run(mbufs);
    }
}

double WeirLane::slice(const Mbufs& mbufs) {
    if (row_.direction == Direction::to_client)
        return timed_slice(
            [&] {
                for (rte_mbuf* packet : mbufs)
                    replies_->write(traffic_, *packet, traffic_.next_known(), TcpHeader::kAck);
            },
            [&] { run(mbufs); });
    return timed_slice([&] { traffic_.write(mbufs); }, [&] { run(mbufs); });
}

void WeirLane::check_all_forwarded() const {
    const WorkerCounters& counters = worker_.counters();
    if (counters.received.value() == counters.forwarded.value()) return;
    std::fprintf(stderr, "bench: row %s: only %llu of %llu packets were forwarded\n", row_.name.c_str(),
                 static_cast<unsigned long long>(counters.forwarded.value()),
                 static_cast<unsigned long long>(counters.received.value()));
    std::exit(2);
}

}  // namespace weir::bench
