// Changes and reloads through the queue, with a real journal and workers that only count.
#include "ctrl/api/change_queue.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "ctrl/api/backend_directory.h"
#include "tests/ctrl/change_builder.h"

namespace weir {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

constexpr const char* kFile = R"(dataplane = { workers = 1; hugepages = false; };
ports = ( { name = "edge"; device = "net_null0"; addresses = [ "10.1.0.2/16" ]; } );
pools = ( { name = "web"; backends = ( { name = "w1"; address = "10.1.1.11"; },
                                       { name = "w2"; address = "10.1.1.12"; } ); } );
services = ( { name = "web"; vip = "203.0.113.10"; protocol = "tcp"; port = 80; forwarding = "ipip"; pool = "web"; } );
)";

class ChangeQueueTest : public testing::Test {
  protected:
    ChangeQueueTest() {
        std::string name = fs::temp_directory_path() / "weir-queue-XXXXXX";
        folder = mkdtemp(name.data());
        file = folder / "weir.cfg";
        write(kFile);
        start();
    }
    ~ChangeQueueTest() override {
        queue.reset();
        fs::remove_all(folder);
    }
    void write(const std::string& text) const { std::ofstream(file) << text; }
    // As weir does, after a kill -9 too.
    void start() {
        queue.reset();
        store.reset();
        store = std::make_shared<JournalStore>(
            JournalStore{std::move(*StateDirectory::open(folder)), std::nullopt});
        auto journal = Journal::open(store->directory, notify);
        ASSERT_TRUE(journal) << journal.error().message;
        std::vector<std::string> warnings;
        EffectiveConfig effective(std::move(*read_config(file).config), journal->take_entries(), warnings);
        sentences.insert(sentences.end(), warnings.begin(), warnings.end());
        store->journal.emplace(std::move(*journal));
        WorldOptions options;
        options.ports = edge_facts();
        monitor = std::make_unique<HealthMonitor>(HealthMonitorOptions{});
        options.assigned = [m = monitor.get()](World& to, const ConfigDelta& delta) {
            m->assigned(to, delta);
        };
        workers = std::make_unique<CountingWorkers>(2);
        world = std::make_unique<World>(std::move(options), workers->all());
        ASSERT_TRUE(world->apply(effective.config()));
        queue = std::make_unique<ChangeQueue>(
            ChangeQueue::Parts{*world, loop, notify, std::move(effective), store, "", [] {}, [] {}}, file);
    }
    // Workers follow at once, unless they are stuck.
    void run(milliseconds time = milliseconds(100)) {
        bool over = false;
        loop.after(time, [&] { over = true; });
        while (!over) {
            if (!stuck) workers->take(world->generation());
            world->tick();
            monitor->tick(*world);
            loop.after(milliseconds(2), [this] { loop.stop(); });
            loop.run();
        }
    }
    ChangeQueue::Done note() {
        return [this](const ChangeQueue::Answer& answer) { answers.push_back(answer); };
    }
    ChangeQueue::Answer change(std::vector<Change> changes) {
        return answer_to([&] { queue->change(std::move(changes), "a test", note()); });
    }
    ChangeQueue::Answer reload(bool dry_run = false) {
        return answer_to([&] { queue->reload(dry_run, note()); });
    }
    ChangeQueue::Answer answer_to(const std::function<void()>& ask) {
        const std::size_t before = answers.size();
        ask();
        for (int i = 0; i < 500 && answers.size() == before; ++i) run(milliseconds(20));
        return answers.size() == before ? machine_error("no answer") : answers.back();
    }
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const BackendRow& row : monitored_backends(*monitor, *world))
            found.push_back(row.name + " " + row.state);
        return found;
    }

    fs::path folder;
    std::string file;
    ControlLoop loop;
    std::vector<std::string> sentences;
    Notify notify = [this](Severity, const std::string& said) { sentences.push_back(said); };
    std::vector<ChangeQueue::Answer> answers;
    bool stuck = false;
    std::shared_ptr<JournalStore> store;
    std::unique_ptr<CountingWorkers> workers;
    std::unique_ptr<HealthMonitor> monitor;
    std::unique_ptr<World> world;
    std::unique_ptr<ChangeQueue> queue;
};

TEST_F(ChangeQueueTest, AChangeIsInForceAndThereAfterARestart) {
    const auto answer = change({add("a", "10.1.1.13", 2)});
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ((*answer)["changed"], 1);
    EXPECT_EQ((*answer)["generation"], 2);
    EXPECT_EQ(world->config()->pools[0].backends.size(), 3u);
    start();
    EXPECT_EQ(world->config()->pools[0].backends.size(), 3u);
    EXPECT_EQ(world->config()->pools[0].backends[2].weight, 2u);
    ASSERT_TRUE(change({removal("a"), drain("w2"), weight("w1", 9)}));
    start();
    ASSERT_EQ(world->config()->pools[0].backends.size(), 2u);
    EXPECT_EQ(world->config()->pools[0].backends[0].weight, 9u);
    EXPECT_TRUE(world->config()->pools[0].backends[1].drained);
    run();
    EXPECT_EQ(names(), (std::vector<std::string>{"w1 unavailable", "w2 unused"}));
}

TEST_F(ChangeQueueTest, NothingIsAnsweredBeforeTheWorkersHaveIt) {
    stuck = true;
    queue->change({weight("w1", 5)}, "a test", note());
    for (int i = 0; i < 100 && world->generation() == 1; ++i) run(milliseconds(20));
    EXPECT_TRUE(answers.empty());
    workers->take(1);
    (*workers)[0].snapshot_generation.set(2);
    run();
    EXPECT_EQ(world->config()->pools[0].backends[0].weight, 5u);
    stuck = false;
    for (int i = 0; i < 100 && answers.empty(); ++i) run();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_TRUE(answers[0]);
}

// Two wait: of one, every worker says that it has it, but one is in the middle of something; of the other,
// that worker has not even seen it.
TEST_F(ChangeQueueTest, AWorkerThatLagsIsNamedAndWhatWasAskedIsKept) {
    stuck = true;
    workers->take(1);
    Published<ForwardingSnapshot>::Reader second{world->published(), 1};
    second.quiescent();
    static_cast<void>(second.latch());
    const auto begun = std::chrono::steady_clock::now();
    const auto publish = [&](std::vector<Change> changes, std::uint64_t generation) {
        queue->change(std::move(changes), "a test", note());
        for (int i = 0; i < 100 && world->generation() < generation; ++i) run(milliseconds(20));
        ASSERT_EQ(world->generation(), generation);
    };
    publish({weight("w1", 5)}, 2);
    workers->take(2);
    publish({weight("w1", 6)}, 3);
    (*workers)[0].snapshot_generation.set(3);
    for (int i = 0; i < 400 && answers.size() < 2; ++i) run(milliseconds(20));
    const auto took = std::chrono::steady_clock::now() - begun;
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_GE(took, ChangeQueue::kPatience);
    EXPECT_LE(took, ChangeQueue::kPatience + std::chrono::seconds(5));
    for (const ChangeQueue::Answer& answer : answers) {
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().cause, Error::Cause::machine);
    }
    EXPECT_EQ(
        answers[0].error().message,
        "generation 2 is published and kept, but an older one is still in use after 5 s; try again, and "
        "look at the log");
    EXPECT_EQ(
        answers[1].error().message,
        "generation 3 is published and kept, but worker 1 has not taken it for 5 s; it comes into force "
        "there once that worker moves: look at its CPU");
    // It moves.
    second.quiescent();
    static_cast<void>(second.latch());
    stuck = false;
    const auto again = change({weight("w1", 6)});
    ASSERT_TRUE(again) << answers.back().error().message;
    EXPECT_EQ((*again)["changed"], 0) << "kept, and now in force";
    second.leave();
    start();
    EXPECT_EQ(world->config()->pools[0].backends[0].weight, 6u);
}

TEST_F(ChangeQueueTest, ABatchIsAllOrNothing) {
    const auto refused = change({add("a", "10.1.1.13"), add("b", "10.1.0.2"), add("c", "10.1.1.15")});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("backend \"b\": address 10.1.0.2 is weir's own"),
              std::string::npos)
        << refused.error().message;
    const auto twice = change({add("a", "10.1.1.13"), add("a", "10.1.1.14")});
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().message.find("change 2 of 2 (backend add web a 10.1.1.14 weight 1): "), 0u)
        << twice.error().message;
    EXPECT_EQ(world->generation(), 1u);
    EXPECT_FALSE(fs::exists(folder / Journal::kName));
    std::vector<Change> many;
    for (int i = 0; i < 1000; ++i)
        many.push_back(add("b" + std::to_string(i), "10.1.9." + std::to_string(1 + i % 250)));
    const auto answer = change(many);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(world->generation(), 2u) << "one snapshot";
    EXPECT_EQ(world->config()->pools[0].backends.size(), 1002u);
}

TEST_F(ChangeQueueTest, WhatCannotBeWrittenIsNotDone) {
    fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
    if (::geteuid() == 0) {
        // For root a directory of that name does what a permission does for others.
        fs::permissions(folder, fs::perms::owner_all);
        fs::create_directories(folder / "changes.journal.new" / "in the way");
    }
    const auto refused = change({weight("w1", 5)});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().cause, Error::Cause::machine);
    EXPECT_EQ(world->generation(), 1u);
    EXPECT_EQ(world->config()->pools[0].backends[0].weight, 1u);
    fs::permissions(folder, fs::perms::owner_all);
    fs::remove_all(folder / "changes.journal.new");
    EXPECT_TRUE(change({weight("w1", 5)}));
}

TEST_F(ChangeQueueTest, WhatIsSoAlreadyIsAnsweredWithoutASnapshot) {
    ASSERT_TRUE(change({weight("w1", 5)}));
    const auto again = change({weight("w1", 5)});
    ASSERT_TRUE(again);
    EXPECT_EQ((*again)["changed"], 0);
    EXPECT_EQ(world->generation(), 2u);
}

TEST_F(ChangeQueueTest, RemoveNowCutsAndCutsWhatDrainsAlready) {
    workers->take(1);
    (*workers)[0].backends[1].active_flows.set(3);
    ASSERT_TRUE(change({removal("w2")}));
    EXPECT_EQ(names(), (std::vector<std::string>{"w1 unavailable", "w2 draining"}));
    Change now = removal("w2");
    now.now = true;
    ASSERT_TRUE(change({now}));
    run();
    EXPECT_EQ(names(), (std::vector<std::string>{"w1 unavailable", "w2 unused"}));
    EXPECT_FALSE(world->ids().knows("web", BackendId{1})) << "its flows count for nothing";
}

TEST_F(ChangeQueueTest, AReloadKeepsEntriesOrDropsThemForGood) {
    ASSERT_TRUE(change({weight("w1", 5), add("a", "10.1.1.13")}));
    ASSERT_TRUE(reload());
    EXPECT_TRUE((*answers.back())["changes"].empty()) << answers.back()->dump();
    EXPECT_EQ(world->config()->pools[0].backends[0].weight, 5u);
    std::string heavier = kFile;
    heavier.replace(heavier.find("\"10.1.1.11\";"), 12, "\"10.1.1.11\"; weight = 3;");
    write(heavier);
    ASSERT_TRUE(reload(true));
    EXPECT_EQ(answers.back()->at("changes").size(), 1u) << answers.back()->dump();
    EXPECT_EQ(world->config()->pools[0].backends[0].weight, 5u) << "a dry run";
    ASSERT_TRUE(reload());
    EXPECT_NE(answers.back()->dump().find("(weight 5) is dropped"), std::string::npos)
        << answers.back()->dump();
    EXPECT_EQ(world->config()->pools[0].backends[0].weight, 3u);
    EXPECT_EQ(world->config()->pools[0].backends.size(), 3u) << "the other is kept";
    write(kFile);
    start();
    EXPECT_EQ(world->config()->pools[0].backends[0].weight, 1u) << "dropped for good";
    EXPECT_EQ(world->config()->pools[0].backends.size(), 3u);
}

TEST_F(ChangeQueueTest, AFileThatContradictsAChangeIsRefusedAndNamesIt) {
    ASSERT_TRUE(change({add("a", "10.1.1.13")}));
    std::string vip = kFile;
    vip.replace(vip.find("203.0.113.10"), 12, "10.1.1.13");
    write(vip);
    ASSERT_FALSE(reload());
    EXPECT_NE(answers.back().error().message.find("weirctl backend remove web a"), std::string::npos)
        << answers.back().error().message;
    EXPECT_EQ(world->config()->services[0].vip, ip("203.0.113.10"));
    start();
    EXPECT_EQ(world->config()->services[0].vip, ip("10.1.1.13")) << "a start goes by the file";
    EXPECT_EQ(world->config()->pools[0].backends.size(), 2u);
    EXPECT_NE(sentences.back().find("the run-time change is dropped"), std::string::npos) << sentences.back();
}

}  // namespace
}  // namespace weir
