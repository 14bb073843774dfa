// One worker's flow table at its largest.
#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "ctrl/config/config_limits.h"
#include "dataplane/net/aes_hash.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/state/flow_table.h"
#include "drivers/huge_memory.h"
#include "tests/bench/scale_bench.h"
#include "tests/dataplane/figure.h"

namespace weir::bench {
namespace {

constexpr Tick kNow{1'000};
constexpr TickCount kTimeout = 22'400;
constexpr FlowOwner kOwner{ServiceId{1}, BackendId{1}};

// What this process has in memory, MiB: ordinary pages and reserved huge ones.
double resident_mib() {
    std::ifstream status("/proc/self/status");
    double kib = 0;
    for (std::string word; status >> word;) {
        if (word != "VmRSS:" && word != "HugetlbPages:") continue;
        double value = 0;
        status >> value;
        kib += value;
    }
    return kib / 1024;
}

// Flows of clients all over the world to one service, as the packet path hashes them.
class Flows {
  public:
    [[nodiscard]] std::uint64_t hash(std::uint64_t n) const {
        FlowKeyV4 key{};
        key.source = Ipv4Address{Be32(static_cast<std::uint32_t>(n >> 14) + 0x0b00'0000u)};
        key.destination = Ipv4Address{Be32(0xcb00'710au)};
        key.source_port = Be16(static_cast<std::uint16_t>(1'024 + (n & 0x3fff)));
        key.destination_port = Be16(443);
        return keyed_hash(key_, key);
    }

  private:
    static constexpr std::array<std::uint8_t, kHashKeyBytes> kSecret = {
        0x51, 0x02, 0x13, 0x94, 0x35, 0x66, 0x77, 0x08, 0x19, 0x2a, 0xbb, 0x4c, 0xdd, 0x5e, 0x6f, 0x70};
    HashKey key_{kSecret};
};

// Nanoseconds for each of `count` insertions, the line of the next ones prefetched as the packet path does.
double fill(FlowTable& table, const Flows& flows, std::uint64_t count, std::uint64_t& unplaced) {
    constexpr std::uint64_t kAhead = 16;
    std::uint64_t ring[kAhead];
    for (std::uint64_t n = 0; n < kAhead; ++n) prefetch(table.bucket_of(ring[n] = flows.hash(n)));
    const Stopwatch watch;
    for (std::uint64_t n = 0; n < count; ++n) {
        const std::uint64_t hash = ring[n % kAhead];
        prefetch(table.bucket_of(ring[n % kAhead] = flows.hash(n + kAhead)));
        if (!table.insert(hash, kOwner, FlowState::tcp_established, kNow, kTimeout).entry) ++unplaced;
    }
    return watch.milliseconds() * 1e6 / static_cast<double>(count);
}

}  // namespace

void measure_flow_table(Report& report) {
    constexpr auto kSlots = static_cast<std::uint64_t>(kMaxFlowsPerWorker);
    const std::size_t bytes = FlowTable::bytes_for(kSlots);
    const double before = resident_mib();
    const auto memory = HugeMemory::allocate(bytes, true);
    if (!memory) {
        std::fprintf(stderr, "%s\n", memory.error().message.c_str());
        return report.add("flow table: memory was not to be had", 1, "", 0);
    }
    // At first touch, so that the kernel places it on the node of the CPU that touches it.
    report.add("flow table: resident before a worker touches it", resident_mib() - before, "MiB", 1);
    FlowTable table(memory->bytes().first(bytes));
    const Flows flows;
    std::uint64_t unplaced = 0;
    const double each = fill(table, flows, kSlots / 2, unplaced);
    const double resident = resident_mib() - before;
    const char* kinds[] = {"reserved huge pages", "transparent huge pages", "ordinary pages"};
    std::printf("flow table: %s\n", kinds[static_cast<std::size_t>(memory->kind())]);
    report.add("flow table: slots", static_cast<double>(table.capacity()) / (1 << 20), "Mi");
    report.add("flow table: memory a slot",
               static_cast<double>(bytes) / static_cast<double>(table.capacity()), "bytes", 16);
    report.add("flow table: resident at 50 % load", resident, "MiB", 1'024);
    report.add("flow table: flows unplaced at 50 % load",
               100.0 * static_cast<double>(unplaced) / static_cast<double>(kSlots / 2), "%", 0.01);
    report.add("flow table: an insertion up to 50 % load", each, "ns");

    const Stopwatch sweep;
    table.sweep(
        table.buckets(), kNow, [](FlowOwner) { return false; }, [](FlowOwner) {});
    const double bucket = sweep.milliseconds() * 1e6 / table.buckets();
    report.add("flow table: a bucket's sweep at 50 % load", bucket, "ns");
}

}  // namespace weir::bench
