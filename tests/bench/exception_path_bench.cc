// The way to the kernel and back: weir's host thread over a TAP descriptor beside DPDK's net_tap, which the
// worker itself would send to and poll. In turns, in one run; in a network namespace of its own. Root only.
//
//     exception_path_bench [ROUNDS]     frames a second each way, what they cost the worker (the time in its
//                                       calls, per frame) and all threads (CPU); then net_tap's ratio to
//                                       weir's
#include <net/ethernet.h>
#include <rte_cycles.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>

#include "drivers/host_thread.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/drivers/kernel_sockets.h"
#include "tests/drivers/own_network.h"

namespace weir::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kBurst = 32, kFrameBytes = 100;
constexpr double kSeconds = 0.5;

// The worker's two calls. Frames that are not taken stay the caller's.
struct Path {
    std::string interface;
    std::function<std::uint32_t(std::span<rte_mbuf*>)> send, receive;
};
struct Measured {
    double rate = 0, worker_ns = 0, cpu_us = 0;
};

double cpu_seconds() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto of = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return of(used.ru_utime) + of(used.ru_stime);
}

// What the kernel has received on an interface.
std::uint64_t received_by_kernel(const std::string& interface) {
    std::ifstream file("/proc/thread-self/net/dev");
    for (std::string line; std::getline(file, line);) {
        const std::size_t colon = line.find(interface + ":");
        if (colon == std::string::npos) continue;
        std::istringstream fields(line.substr(colon + interface.size() + 1));
        std::uint64_t bytes = 0, packets = 0;
        fields >> bytes >> packets;
        return packets;
    }
    return 0;
}

// Calls `step` for a while; it says how many frames it moved, in so many cycles.
template <class Step>
Measured measure(Step&& step, const std::function<std::uint64_t()>& delivered) {
    const std::uint64_t before = delivered();
    const double cpu = cpu_seconds();
    const auto begun = Clock::now();
    std::uint64_t cycles = 0;
    while (Clock::now() - begun < std::chrono::duration<double>(kSeconds)) step(cycles);
    const std::chrono::duration<double> passed = Clock::now() - begun;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // what is in the rings yet
    const double frames = std::max<double>(1, static_cast<double>(delivered() - before));
    return {.rate = frames / passed.count(),
            .worker_ns = 1e9 * static_cast<double>(cycles) / static_cast<double>(rte_get_tsc_hz()) / frames,
            .cpu_us = 1e6 * (cpu_seconds() - cpu) / frames};
}

Bytes test_frame() {
    Bytes frame(kFrameBytes);
    std::fill_n(frame.begin(), 6, std::uint8_t{0xff});
    frame[6] = 0x02;
    frame[12] = 0x88;  // local experimental EtherType 0x88b5
    frame[13] = 0xb5;
    return frame;
}

Measured up(const Path& path, rte_mempool& pool) {
    const Bytes frame = test_frame();
    return measure(
        [&](std::uint64_t& cycles) {
            std::array<rte_mbuf*, kBurst> burst;
            if (rte_pktmbuf_alloc_bulk(&pool, burst.data(), kBurst) != 0) return std::this_thread::yield();
            for (rte_mbuf* packet : burst) {
                std::copy(frame.begin(), frame.end(), rte_pktmbuf_mtod(packet, std::uint8_t*));
                packet->data_len = kFrameBytes;
                packet->pkt_len = kFrameBytes;
                packet->port = 0;
            }
            const std::uint64_t called = rte_rdtsc();
            const std::uint32_t taken = path.send(burst);
            cycles += rte_rdtsc() - called;
            rte_pktmbuf_free_bulk(burst.data() + taken, kBurst - taken);
            if (taken == 0) std::this_thread::yield();
        },
        [&] { return received_by_kernel(path.interface); });
}

Measured down(const Path& path) {
    std::atomic<bool> stop{false};
    std::thread kernel([&] {
        const PacketSocket socket(path.interface);
        const Bytes frame = test_frame();
        while (!stop) (void)::send(socket.descriptor(), frame.data(), frame.size(), 0);
    });
    std::uint64_t taken = 0;
    const Measured result = measure(
        [&](std::uint64_t& cycles) {
            std::array<rte_mbuf*, kBurst> burst;
            const std::uint64_t called = rte_rdtsc();
            const std::uint32_t count = path.receive(burst);
            if (count != 0) cycles += rte_rdtsc() - called;
            rte_pktmbuf_free_bulk(burst.data(), count);
            taken += count;
            if (count == 0) std::this_thread::yield();
        },
        [&] { return taken; });
    stop = true;
    kernel.join();
    return result;
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

void report(const char* what, const std::vector<Measured>& weir, const std::vector<Measured>& tap) {
    const auto middle = [](const std::vector<Measured>& all, double Measured::*field) {
        std::vector<double> values;
        for (const Measured& one : all) values.push_back(one.*field);
        return median(std::move(values));
    };
    for (const auto& [name, all] : {std::pair("TAP descriptor", &weir), std::pair("net_tap", &tap)})
        std::printf("%-5s %-15s %9.0f frames/s  worker %7.0f ns  all threads %6.2f us of CPU a frame\n", what,
                    name, middle(*all, &Measured::rate), middle(*all, &Measured::worker_ns),
                    middle(*all, &Measured::cpu_us));
    std::vector<double> rates, costs;
    for (std::size_t i = 0; i < weir.size(); ++i) {
        rates.push_back(tap[i].rate / weir[i].rate);
        costs.push_back(tap[i].worker_ns / weir[i].worker_ns);
    }
    std::printf("%-5s net_tap / TAP descriptor: %.2f of the frames, %.1f times the worker's time a frame\n",
                what, median(rates), median(costs));
}

int run(int rounds) {
    enter_own_network();
    EalOptions options = unprivileged_eal();
    options.host_thread = true;
    auto eal = Eal::start(options);
    if (!eal) return std::fprintf(stderr, "%s\n", eal.error().message.c_str()), 2;
    PoolDemand demand;
    MbufPools pools(demand);
    auto twin = HostTap::open({.name = "twin0", .mac = {2, 0, 0, 0, 0, 1}, .addresses = {}});
    PortSpec spec;
    spec.name = "exception";
    spec.device = "net_tap0,iface=dtap0";
    auto port = Port::open(spec, pools);
    if (!twin || !port) return std::fprintf(stderr, "no TAP: run it as root\n"), 2;
    rte_mempool& pool = *port->pool();
    auto host = HostThread::make({{&pool, true, &*twin}}, 1);
    if (!host) return std::fprintf(stderr, "%s\n", host.error().message.c_str()), 2;
    (*host)->launch(eal->host_lcore(), {});
    HostRings& rings = (*host)->rings(0);
    const RxQueue rx = port->rx_queue(0);
    TxQueue tx = port->tx_queue(0);
    const Path weir{"twin0", [&](std::span<rte_mbuf*> burst) { return rings.punt(burst); },
                    [&](std::span<rte_mbuf*> burst) { return rings.take(burst); }};
    const Path tap{"dtap0", [&](std::span<rte_mbuf*> burst) -> std::uint32_t { return tx.send(burst); },
                   [&](std::span<rte_mbuf*> burst) -> std::uint32_t { return rx.receive(burst); }};
    std::vector<Measured> ups[2], downs[2];
    std::thread worker([&] {  // not on the host thread's CPU, where EAL has pinned the main thread
        cpu_set_t other;
        CPU_ZERO(&other);
        CPU_SET(usable_cpus().back(), &other);
        pthread_setaffinity_np(pthread_self(), sizeof(other), &other);
        for (int round = 0; round < rounds; ++round)
            for (const int which : {round % 2, 1 - round % 2}) {
                ups[which].push_back(up(which == 0 ? weir : tap, pool));
                downs[which].push_back(down(which == 0 ? weir : tap));
            }
    });
    worker.join();
    report("up", ups[0], ups[1]);
    report("down", downs[0], downs[1]);
    return 0;
}

}  // namespace
}  // namespace weir::test

int main(int count, char** arguments) {
    return weir::test::run(count > 1 ? std::max(std::atoi(arguments[1]), 1) : 7);
}
