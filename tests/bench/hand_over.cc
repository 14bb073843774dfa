#include "tests/bench/hand_over.h"

#include <cstdio>
#include <cstdlib>

#include "tests/bench/measure.h"

namespace weir::bench {

namespace {

constexpr std::uint32_t kWorkers = 2;
// Of how many workers' replies all but one's travel; the last: none comes to its owner.
constexpr std::uint32_t kQueues[] = {1, 2, 4, 8, 16, 0};

std::unique_ptr<WorkerRings> rings_or_exit() {
    auto rings = WorkerRings::make(kWorkers);
    if (rings) return std::move(*rings);
    std::fprintf(stderr, "bench: %s\n", rings.error().message.c_str());
    std::exit(2);
}

// A flow's client is the worker's whose turn its number is.
class TwoWorkers {
  public:
    TwoWorkers(const Row& row, const Mbufs& mbufs)
        : traffic_(row), replies_(row), world_(row, kWorkers), rings_(rings_or_exit()) {
        for (std::uint32_t w = 0; w < kWorkers; ++w)
            workers_[w] = std::make_unique<BenchWorker>(world_, row, slots_for(row.flows), w, rings_.get());
        for (std::uint32_t first = 0; first < row.flows; first += kBatch)
            for (std::uint32_t w = 0; w < kWorkers; ++w) begin(w, first, row.flows, mbufs);
    }

    // As a NIC would: into one queue or the other. `travel`: of 2^32, how many come to the wrong one.
    void sort(const Mbufs& mbufs, std::uint64_t travel) {
        for (auto& queue : queues_) queue.clear();
        for (rte_mbuf* packet : mbufs) {
            const std::uint32_t flow = traffic_.next_known();
            replies_.write(traffic_, *packet, flow, TcpHeader::kAck);
            random_ = random_ * 0x5851'f42d'4c95'7f2d + 1;
            const std::uint32_t astray = (random_ >> 32) < travel ? 1 : 0;
            queues_[(flow + astray) % kWorkers].push_back(packet);
        }
    }
    void run() {
        for (std::uint32_t w = 0; w < kWorkers; ++w) workers_[w]->run(queues_[w], real_tick());
        empty_rings();
    }
    [[nodiscard]] std::uint64_t sum(Counter WorkerCounters::*counter) {
        return (world_.counters(0).*counter).value() + (world_.counters(1).*counter).value();
    }

  private:
    void empty_rings() {
        for (bool any = true; any;) {
            any = false;
            for (const auto& worker : workers_) any |= worker->take_over(real_tick()) != 0;
        }
    }
    // Handshakes of the batch's flows that are this worker's.
    void begin(std::uint32_t worker, std::uint32_t first, std::uint32_t flows, const Mbufs& mbufs) {
        std::vector<std::uint32_t> own;
        for (std::uint32_t flow = first; flow < std::min(first + std::uint32_t{kBatch}, flows); ++flow)
            if (flow % kWorkers == worker) own.push_back(flow);
        const auto packets = std::span(mbufs).first(own.size());
        const auto send = [&](std::uint8_t flags) {
            for (std::size_t i = 0; i < own.size(); ++i) traffic_.write_flow(*packets[i], own[i], flags);
            workers_[worker]->run(packets, real_tick());
        };
        send(TcpHeader::kSyn);
        for (std::size_t i = 0; i < own.size(); ++i) {
            replies_.note(own[i], *packets[i]);
            replies_.write(traffic_, *packets[i], own[i], TcpHeader::kSyn | TcpHeader::kAck);
        }
        workers_[worker]->run(packets, real_tick());
        send(TcpHeader::kAck);
    }

    Traffic traffic_;
    Replies replies_;
    BenchWorld world_;
    std::unique_ptr<WorkerRings> rings_;
    std::array<std::unique_ptr<BenchWorker>, kWorkers> workers_;
    std::array<std::vector<rte_mbuf*>, kWorkers> queues_;
    std::uint64_t random_ = 1;
};

class HandOverLane final : public Lane {
  public:
    HandOverLane(TwoWorkers& workers, std::uint32_t queues)
        : workers_(workers),
          travel_(queues == 0 ? std::uint64_t{1} << 32 : ((std::uint64_t{1} << 32) / queues) * (queues - 1)) {
    }
    double slice(const Mbufs& mbufs) override {
        const std::uint64_t before = workers_.sum(&WorkerCounters::replies_handed_over);
        const double cycles = timed_slice([&] { workers_.sort(mbufs, travel_); }, [&] { workers_.run(); });
        travelled_ += workers_.sum(&WorkerCounters::replies_handed_over) - before;
        replies_ += kSlicePackets;
        return cycles;
    }
    [[nodiscard]] double share() const {
        return static_cast<double>(travelled_) / static_cast<double>(replies_);
    }

  private:
    TwoWorkers& workers_;
    std::uint64_t travel_;
    std::uint64_t travelled_ = 0, replies_ = 0;
};

std::string name_of_share(const Row& row, std::uint32_t queues) {
    if (queues == 1) return row.name + ", two workers";
    if (queues == 0) return row.name + ", all by ring";
    return row.name + ", " + std::to_string(queues - 1) + " of " + std::to_string(queues) + " by ring";
}

}  // namespace

std::vector<HandOverFigure> hand_over_figures(const Row& row, const Mbufs& mbufs, std::size_t rounds) {
    TwoWorkers workers(row, mbufs);
    std::vector<std::unique_ptr<HandOverLane>> lanes;
    for (const std::uint32_t queues : kQueues)
        lanes.push_back(std::make_unique<HandOverLane>(workers, queues));
    std::vector<Lane*> in_turn;
    for (const auto& lane : lanes) in_turn.push_back(lane.get());
    auto cycles = measure(in_turn, mbufs, rounds);
    if (workers.sum(&WorkerCounters::received) != workers.sum(&WorkerCounters::forwarded)) {
        std::fprintf(stderr, "bench: row %s: not every reply was forwarded\n", row.name.c_str());
        std::exit(2);
    }
    std::vector<HandOverFigure> figures;
    for (std::size_t i = 0; i < lanes.size(); ++i)
        figures.push_back({name_of_share(row, kQueues[i]), lanes[i]->share(), std::move(cycles[i])});
    return figures;
}

}  // namespace weir::bench
