// Changes into entries: the sum counts, not the history, and what cannot be says why.
#include "ctrl/changes/journal_entry.h"

#include <gtest/gtest.h>

#include "tests/ctrl/change_builder.h"

namespace weir {
namespace {

class JournalEntryTest : public testing::Test {
  protected:
    // The backend's name is "w1", "w2" (in the file) or "a" (not in it).
    bool entered(const Change& change) {
        const auto result = enter(change, file.index, entries);
        EXPECT_TRUE(result) << result.error().message;
        return result.value_or(false);
    }
    void expect_refused(const Change& change, const char* words) {
        const JournalEntries before = entries;
        const auto result = enter(change, file.index, entries);
        ASSERT_FALSE(result);
        EXPECT_NE(result.error().message.find(words), std::string::npos) << result.error().message;
        EXPECT_EQ(entries, before);
    }
    [[nodiscard]] std::optional<BackendConfig> now(const std::string& name) const {
        const auto entry = entries.find({"web", name});
        return backend_in_force(file.index.find({"web", name}),
                                entry == entries.end() ? nullptr : &entry->second);
    }

    FileConfig file{web_config()};
    JournalEntries entries;
};

TEST_F(JournalEntryTest, AddedAndRemovedLeavesNothing) {
    EXPECT_TRUE(entered(add("a", "10.1.1.13", 2)));
    EXPECT_EQ(now("a")->weight, 2u);
    EXPECT_FALSE(entered(add("a", "10.1.1.13", 2))) << "is so already";
    EXPECT_TRUE(entered(weight("a", 5)));
    EXPECT_TRUE(entered(drain("a")));
    EXPECT_EQ(now("a")->weight, 5u);
    EXPECT_TRUE(now("a")->drained);
    EXPECT_EQ(entries.size(), 1u);
    EXPECT_TRUE(entered(removal("a")));
    EXPECT_TRUE(entries.empty());
}

TEST_F(JournalEntryTest, WhatLeadsBackToTheFileLeavesNothing) {
    EXPECT_TRUE(entered(weight("w1", 5)));
    EXPECT_TRUE(entered(weight("w1", 3)));
    EXPECT_EQ(now("w1")->weight, 3u);
    EXPECT_EQ(entries.at({"web", "w1"}).replaced->weight, 1u);
    EXPECT_TRUE(entered(drain("w1")));
    EXPECT_FALSE(entered(drain("w1")));
    EXPECT_TRUE(entered(weight("w1", 1)));
    EXPECT_EQ(now("w1")->weight, 1u);
    EXPECT_TRUE(entered(enable("w1")));
    EXPECT_TRUE(entries.empty());
    EXPECT_TRUE(entered(removal("w1")));
    EXPECT_FALSE(now("w1"));
    EXPECT_TRUE(entered(add("w1", "10.1.1.11")));
    EXPECT_TRUE(entries.empty());
}

TEST_F(JournalEntryTest, ARemovedNameMayBeGivenToAnotherAddress) {
    entered(removal("w2"));
    EXPECT_TRUE(entered(add("w2", "10.1.1.99")));
    EXPECT_EQ(now("w2")->address, ip("10.1.1.99"));
    EXPECT_EQ(entries.at({"web", "w2"}).replaced->address, ip("10.1.1.12"));
    entered(weight("w2", 4));
    EXPECT_EQ(now("w2")->weight, 4u);
    EXPECT_TRUE(entered(removal("w2")));
    EXPECT_FALSE(now("w2")) << "not back to the file's";
    EXPECT_TRUE(entries.at({"web", "w2"}).removed);
}

TEST_F(JournalEntryTest, RemovingTakesWeightAndDrainAlong) {
    entered(weight("w1", 5));
    entered(drain("w1"));
    entered(removal("w1"));
    entered(add("w1", "10.1.1.11"));
    EXPECT_EQ(*now("w1"), *file.index.find({"web", "w1"}));
}

TEST_F(JournalEntryTest, WhatCannotBeSaysWhy) {
    expect_refused(add("a", "10.1.1.13", 1, "nowhere"), "there is no pool \"nowhere\"");
    expect_refused(add("w1", "10.1.1.13"),
                   "is there already (10.1.1.11, no port, weight 1); remove it first");
    expect_refused(removal("a"), "there is none of that name");
    expect_refused(weight("a", 3), "there is none of that name");
    expect_refused(enable("a"), "there is none of that name");
    entered(drain("w1"));
    expect_refused(add("w1", "10.1.1.11"), "weirctl backend enable web w1");
    Change now = removal("a");
    now.now = true;
    EXPECT_FALSE(entered(now)) << "what drains under that name may still be cut";
}

}  // namespace
}  // namespace weir
