// file + journal: the table of ctrl/changes/journal_entry.h, row by row.
#include "ctrl/changes/overlay.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/ctrl/change_builder.h"

namespace weir {
namespace {

using Edit = std::function<void(Config&)>;

std::vector<BackendConfig>& web(Config& config) { return config.pools[0].backends.change(); }
void nothing(Config&) {}
void heavier_w2(Config& config) { web(config)[1].weight = 3; }
void moved_w2(Config& config) { web(config)[1].address = ip("10.1.1.77"); }
void zoned_w2(Config& config) { web(config)[1].zone = "z1"; }
void without_w2(Config& config) { web(config).pop_back(); }
void with_a(Config& config) { web(config).push_back(backend("a", "10.1.1.13")); }
void other_order(Config& config) { std::swap(web(config)[0], web(config)[1]); }
void without_pool(Config& config) {
    config.pools[0].name = "other";
    config.services[0].pool = "other";
}

struct Row {
    const char* what;
    std::vector<Change> changes;
    Edit edit;  // of the file, after the changes
    bool kept;
    const char* warning;  // words of it; empty: none
    std::vector<BackendConfig> expected;
};

BackendConfig drained(BackendConfig config) {
    config.drained = true;
    return config;
}
BackendConfig zoned(BackendConfig config) {
    config.zone = "z1";
    return config;
}

const BackendConfig kW1 = backend("w1", "10.1.1.11"), kW2 = backend("w2", "10.1.1.12"),
                    kA = backend("a", "10.1.1.13");

const std::vector<Row> kRows = {
    {"no change", {}, heavier_w2, true, "", {kW1, backend("w2", "10.1.1.12", 3)}},
    {"added, file as before", {add("a", "10.1.1.13")}, nothing, true, "", {kW1, kW2, kA}},
    {"added, another changed",
     {add("a", "10.1.1.13")},
     heavier_w2,
     true,
     "",
     {kW1, backend("w2", "10.1.1.12", 3), kA}},
    {"added, the file has it now", {add("a", "10.1.1.14")}, with_a, false, "says 10.1.1.13", {kW1, kW2, kA}},
    {"added, the file has the same",
     {add("a", "10.1.1.13")},
     with_a,
     false,
     "says 10.1.1.13",
     {kW1, kW2, kA}},
    {"added, its pool is gone", {add("a", "10.1.1.13")}, without_pool, false, "no such pool", {kW1, kW2}},
    {"another in place of the file's",
     {removal("w2"), add("w2", "10.1.1.99")},
     nothing,
     true,
     "",
     {kW1, backend("w2", "10.1.1.99")}},
    {"the same, the file's changed",
     {removal("w2"), add("w2", "10.1.1.99")},
     heavier_w2,
     false,
     "weight 3 now",
     {kW1, backend("w2", "10.1.1.12", 3)}},
    {"the same, the file's is gone",
     {removal("w2"), add("w2", "10.1.1.99")},
     without_w2,
     false,
     "has it no more",
     {kW1}},
    {"removed, file as before", {removal("w2")}, nothing, true, "", {kW1}},
    {"removed, another order", {removal("w2")}, other_order, true, "", {kW1}},
    {"removed, the file's changed",
     {removal("w2")},
     zoned_w2,
     false,
     "(removed) is dropped",
     {kW1, zoned(kW2)}},
    {"removed, from the file too", {removal("w2")}, without_w2, false, "", {kW1}},
    {"removed, its pool is gone",
     {removal("w2")},
     without_pool,
     false,
     "was removed at run time",
     {kW1, kW2}},
    {"weight, file as before", {weight("w2", 7)}, nothing, true, "", {kW1, backend("w2", "10.1.1.12", 7)}},
    {"weight, the file's zone changed",
     {weight("w2", 7)},
     zoned_w2,
     true,
     "",
     {kW1, zoned(backend("w2", "10.1.1.12", 7))}},
    {"weight, the file's weight changed",
     {weight("w2", 7)},
     heavier_w2,
     false,
     "(weight 7) is dropped",
     {kW1, backend("w2", "10.1.1.12", 3)}},
    {"weight, the file's is elsewhere",
     {weight("w2", 7)},
     moved_w2,
     false,
     "(weight 7) is dropped",
     {kW1, backend("w2", "10.1.1.77")}},
    {"weight, the file's is gone", {weight("w2", 7)}, without_w2, false, "has it no more", {kW1}},
    {"drained, file as before", {drain("w2")}, nothing, true, "", {kW1, drained(kW2)}},
    {"drained, the file's weight changed",
     {drain("w2")},
     heavier_w2,
     true,
     "",
     {kW1, drained(backend("w2", "10.1.1.12", 3))}},
    {"drained, the file's is elsewhere",
     {drain("w2")},
     moved_w2,
     false,
     "(drained) is dropped",
     {kW1, backend("w2", "10.1.1.77")}},
    {"drained, the file's is gone", {drain("w2")}, without_w2, false, "has it no more", {kW1}},
    {"weight and drained, weight changed",
     {weight("w2", 7), drain("w2")},
     heavier_w2,
     true,
     "(weight 7) is dropped",
     {kW1, drained(backend("w2", "10.1.1.12", 3))}},
    {"weight and drained, elsewhere",
     {weight("w2", 7), drain("w2")},
     moved_w2,
     false,
     "(weight 7, drained) is dropped",
     {kW1, backend("w2", "10.1.1.77")}},
};

TEST(Overlay, EveryRowOfTheTable) {
    for (const Row& row : kRows) {
        SCOPED_TRACE(row.what);
        const FileConfig before(web_config());
        JournalEntries entries;
        for (const Change& change : row.changes) ASSERT_TRUE(enter(change, before.index, entries));
        Config edited = web_config();
        row.edit(edited);
        const FileConfig after(std::move(edited));
        const Overlay result = overlay(after.config, after.index, entries);
        EXPECT_EQ(result.config.pools[0].backends.items(), row.expected);
        EXPECT_EQ(result.kept.size(), row.kept && !row.changes.empty() ? 1u : 0u);
        if (*row.warning == '\0') {
            EXPECT_TRUE(result.warnings.empty()) << result.warnings[0];
        } else {
            ASSERT_EQ(result.warnings.size(), 1u);
            EXPECT_NE(result.warnings[0].find(row.warning), std::string::npos) << result.warnings[0];
        }
        // What is kept is kept again.
        const Overlay again = overlay(after.config, after.index, result.kept);
        EXPECT_TRUE(again.settled.empty() && again.warnings.empty());
        EXPECT_EQ(again.config.pools[0].backends.items(), row.expected);
    }
}

TEST(Overlay, PoolsWithoutEntriesAreShared) {
    Config two = web_config();
    two.pools.push_back(pool("other", {backend("o", "10.1.1.11")}));
    const FileConfig file(std::move(two));
    JournalEntries entries;
    ASSERT_TRUE(enter(weight("w1", 2), file.index, entries));
    const Overlay result = overlay(file.config, file.index, entries);
    EXPECT_EQ(&result.config.pools[1].backends.items(), &file.config.pools[1].backends.items());
    EXPECT_EQ(file.config.pools[0].backends[0].weight, 1u) << "the file's value is untouched";
}

}  // namespace
}  // namespace weir
