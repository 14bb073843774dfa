#include "ctrl/metrics/kernel_metrics.h"

#include "ctrl/metrics/family_builder.h"

namespace weir {

void add_kernel_metrics(const KernelStats& kernel, std::vector<prometheus::MetricFamily>& families) {
    FamilyBuilder hops = FamilyBuilder::gauge(
        "next_hops", "Next hops of backends behind host interfaces, by what the kernel knows of them.");
    hops.add({{"state", "resolved"}}, kernel.hops.resolved);
    hops.add({{"state", "unresolved"}}, kernel.hops.unresolved);
    hops.add({{"state", "failed"}}, kernel.hops.failed);
    hops.finish(families);
    FamilyBuilder changes = FamilyBuilder::counter(
        "netlink_changes_total", "The kernel's notifications that concerned a way to a backend.");
    changes.add({}, kernel.changes);
    changes.finish(families);
    FamilyBuilder resyncs = FamilyBuilder::counter(
        "netlink_resyncs_total", "Times that everything was read anew because notifications were lost.");
    resyncs.add({}, kernel.resyncs);
    resyncs.finish(families);
    FamilyBuilder publish = FamilyBuilder::histogram(
        "netlink_publish_duration_seconds",
        "From the first notification of a change to the publication of the snapshot that has it.");
    publish.add({}, kernel.publish_durations);
    publish.finish(families);
}

}  // namespace weir
