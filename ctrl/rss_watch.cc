#include "ctrl/rss_watch.h"

#include <fmt/format.h>

namespace weir {

void RssWatch::look(std::span<const PortStatistics> ports, std::span<const WorkerCounters* const> workers,
                    const Notify& notify) {
    for (std::size_t port = 0; port < ports.size(); ++port) {
        std::uint64_t right = 0, wrong = 0;
        for (const WorkerCounters* worker : workers) {
            right += worker->rss_as_computed[port].value();
            wrong += worker->rss_otherwise[port].value();
        }
        if (wrong == 0 || told_.test(port)) continue;
        told_.set(port);
        notify(Severity::warning,
               fmt::format("port {}: the NIC has brought {} of its first {} frames to another queue than its "
                           "RSS key and table, as weir has written them, say: such replies of modes nat and "
                           "dnat travel between workers, which costs time and loses none "
                           "(weir_nat_replies_handed_over_total); look for a driver that ignores the key, or "
                           "ethtool -x of another program",
                           ports[port].name, wrong, right + wrong));
    }
}

}  // namespace weir
