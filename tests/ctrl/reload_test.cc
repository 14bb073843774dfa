// Reloads from real files: the good ones come into force, the others change nothing and say why.
#include "ctrl/reload.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

constexpr const char* kGood = R"(dataplane = { workers = 1; hugepages = false; };
ports = ( { name = "edge"; device = "net_null0"; addresses = [ "10.1.0.2/24" ]; } );
neighbors = ( { address = "10.1.0.11"; mac = "02:00:00:00:00:11"; port = "edge"; },
              { address = "10.1.0.12"; mac = "02:00:00:00:00:12"; port = "edge"; } );
pools = ( { name = "web"; backends = ( { name = "w1"; address = "10.1.0.11"; },
                                       { name = "w2"; address = "10.1.0.12"; } ); } );
services = ( { name = "web"; vip = "203.0.113.10"; protocol = "tcp"; port = 80; forwarding = "ipip"; pool = "web"; } );
)";

class ReloadTest : public testing::Test {
  protected:
    void SetUp() override { write(kGood); }
    void TearDown() override { std::filesystem::remove(path); }
    WorldOptions options() {
        WorldOptions result;
        result.ports = edge_facts();
        result.notify = [this](Severity severity, const std::string& sentence) {
            if (severity == Severity::error) errors.push_back(sentence);
            if (severity == Severity::info) infos.push_back(sentence);
        };
        result.hook = [this](ReloadStep step) { steps.push_back(step); };
        return result;
    }
    void write(const std::string& text) { std::ofstream(path) << text; }
    // The good file with one text in place of another.
    void write_with(const std::string& old_text, const std::string& new_text) {
        std::string changed = kGood;
        const std::size_t place = changed.find(old_text);
        ASSERT_NE(place, std::string::npos) << old_text;
        write(changed.replace(place, old_text.size(), new_text));
    }

    std::string path =
        std::filesystem::temp_directory_path() / ("weir-reload-" + std::to_string(getpid()) + ".cfg");
    std::vector<std::string> errors, infos;
    std::vector<ReloadStep> steps;
    CountingWorkers workers{1};
    World world{options(), workers.all()};
    Reloader reloader{world, path};
};

TEST_F(ReloadTest, TheStepsInOrder) {
    const auto report = reloader.reload();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->generation, 1u);
    EXPECT_TRUE(report->changes.empty());
    EXPECT_EQ(steps, (std::vector{ReloadStep::read, ReloadStep::validated, ReloadStep::compiled,
                                  ReloadStep::before_publish, ReloadStep::published}));
    EXPECT_EQ(reloader.stats().succeeded, 1u);
    EXPECT_TRUE(reloader.stats().last_successful);
    EXPECT_GT(reloader.stats().last_success_time, 1e9);
}

TEST_F(ReloadTest, AChangeIsSaidAndInForce) {
    ASSERT_TRUE(reloader.reload());
    write_with("address = \"10.1.0.12\"; } ); }", "address = \"10.1.0.12\"; weight = 3; } ); }");
    const auto report = reloader.reload();
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_EQ(report->changes.size(), 1u);
    EXPECT_NE(report->changes[0].find("w2"), std::string::npos) << report->changes[0];
    EXPECT_EQ(world.generation(), 2u);
    EXPECT_EQ(world.config()->pools[0].backends[1].weight, 3u);
    EXPECT_EQ(infos.back(), report->changes[0]);
}

TEST_F(ReloadTest, EveryMistakeIsNamedAndTheOldStaysInForce) {
    ASSERT_TRUE(reloader.reload());
    const ForwardingSnapshot* before = world.snapshot();
    write_with("port = 80; forwarding = \"ipip\"", "port = 80000; forwarding = \"ipip\"; colour = 1");
    const auto refused = reloader.reload();
    ASSERT_FALSE(refused);
    ASSERT_GE(errors.size(), 3u);
    EXPECT_EQ(errors[0].find(path + ":7: "), 0u) << errors[0];
    EXPECT_EQ(errors[1].find(path + ":7: "), 0u) << errors[1];
    EXPECT_EQ(errors.back(), path + ": refused; generation 1 stays in force");
    EXPECT_EQ(world.snapshot(), before);
    EXPECT_EQ(reloader.stats().refused, 1u);
    EXPECT_FALSE(reloader.stats().last_successful);
    write(kGood);
    EXPECT_TRUE(reloader.reload());
    EXPECT_TRUE(reloader.stats().last_successful);
}

TEST_F(ReloadTest, WhatNeedsARestartIsRefusedByName) {
    ASSERT_TRUE(reloader.reload());
    write_with("workers = 1", "workers = 2");
    const auto refused = reloader.reload();
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("restart weir to change"), std::string::npos);
    EXPECT_NE(refused.error().message.find("workers"), std::string::npos) << refused.error().message;
    EXPECT_EQ(world.generation(), 1u);
}

TEST_F(ReloadTest, AMissingFileIsRefused) {
    ASSERT_TRUE(reloader.reload());
    std::filesystem::remove(path);
    EXPECT_FALSE(reloader.reload());
    EXPECT_EQ(reloader.stats().refused, 1u);
    EXPECT_EQ(world.generation(), 1u);
}

TEST_F(ReloadTest, ADryRunChangesAndCountsNothing) {
    ASSERT_TRUE(reloader.reload());
    write_with("name = \"w2\"", "name = \"w9\"");
    const auto report = reloader.reload(true);
    ASSERT_TRUE(report);
    EXPECT_FALSE(report->changes.empty());
    EXPECT_EQ(report->generation, 0u);
    EXPECT_EQ(world.generation(), 1u);
    EXPECT_EQ(reloader.stats().succeeded, 1u);
}

TEST_F(ReloadTest, AThousandSignalsAreOneReload) {
    ASSERT_TRUE(reloader.reload());
    for (int i = 0; i < 1000; ++i) reloader.request();
    EXPECT_TRUE(reloader.poll());
    EXPECT_FALSE(reloader.poll());
    EXPECT_EQ(reloader.stats().succeeded, 2u);
}

}  // namespace
}  // namespace weir
