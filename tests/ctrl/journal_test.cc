// The journal on disk: what was written is there; what could not be written has left nothing; one weir a
// directory.
#include "ctrl/changes/journal.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ctrl/config/read_file.h"
#include "tests/ctrl/change_builder.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

class JournalTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = fs::temp_directory_path() / "weir-journal-XXXXXX";
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder = name;
    }
    void TearDown() override { fs::remove_all(folder); }
    [[nodiscard]] StateDirectory directory() const { return std::move(*StateDirectory::open(folder)); }
    [[nodiscard]] Journal open(const StateDirectory& in) {
        auto journal =
            Journal::open(in, [this](Severity, const std::string& said) { sentences.push_back(said); });
        if (!journal) throw std::runtime_error(journal.error().message);
        return std::move(*journal);
    }
    Result<void> write(Journal& journal, const Change& change) {
        JournalEntries next = entries;
        EXPECT_TRUE(enter(change, file.index, next));
        auto shared = std::make_shared<const JournalEntries>(next);
        auto done = journal.write({journal_line({change.key}, next), shared});
        if (done) entries = std::move(next);
        return done;
    }
    // What a weir that starts now would find.
    JournalEntries found() {
        const StateDirectory again = directory();
        return open(again).take_entries();
    }
    [[nodiscard]] fs::path path() const { return folder / Journal::kName; }

    fs::path folder;
    FileConfig file{web_config()};
    JournalEntries entries;
    std::vector<std::string> sentences;
};

TEST_F(JournalTest, WhatWasWrittenIsFound) {
    {
        const StateDirectory held = directory();
        Journal journal = open(held);
        EXPECT_FALSE(fs::exists(path())) << "nothing to say, no file";
        ASSERT_TRUE(write(journal, add("a", "10.1.1.13")));
        ASSERT_TRUE(write(journal, weight("w1", 5)));
    }
    EXPECT_EQ(found(), entries);
    {
        const StateDirectory held = directory();
        Journal journal = open(held);
        ASSERT_TRUE(write(journal, drain("w2")));
    }
    EXPECT_EQ(found(), entries);
    EXPECT_TRUE(sentences.empty());
    struct stat status {};
    ASSERT_EQ(stat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777 & ~0640u, 0u);
}

TEST_F(JournalTest, ATornLineIsDroppedWithAWarningAndWrittenOver) {
    {
        const StateDirectory held = directory();
        Journal journal = open(held);
        ASSERT_TRUE(write(journal, add("a", "10.1.1.13")));
    }
    std::ofstream(path(), std::ios::app) << R"({"crc32":"12)";
    {
        const StateDirectory held = directory();
        Journal journal = open(held);
        EXPECT_EQ(sentences.size(), 1u);
        EXPECT_NE(sentences.at(0).find("the last 12 bytes are half a change"), std::string::npos)
            << sentences[0];
        EXPECT_EQ(journal.take_entries(), entries);
        ASSERT_TRUE(write(journal, weight("w1", 5)));
    }
    EXPECT_EQ(found(), entries);
    EXPECT_EQ(sentences.size(), 1u);
}

TEST_F(JournalTest, DamageIsNotStartedWith) {
    std::ofstream(path()) << "rubbish\n";
    const StateDirectory held = directory();
    const auto journal = Journal::open(held, {});
    ASSERT_FALSE(journal);
    EXPECT_EQ(journal.error().message.find(path().string() + ":1: "), 0u) << journal.error().message;
}

TEST_F(JournalTest, OneWeirADirectory) {
    const StateDirectory held = directory();
    const auto second = StateDirectory::open(folder);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("another weir has this state directory"), std::string::npos);
    EXPECT_FALSE(StateDirectory::open(folder / "two" / "levels"));
    EXPECT_TRUE(StateDirectory::open(folder / "one"));
    std::ofstream(folder / "file") << "";
    EXPECT_FALSE(StateDirectory::open(folder / "file"));
}

TEST_F(JournalTest, ItIsCompacted) {
    const StateDirectory held = directory();
    Journal journal = open(held);
    std::size_t largest = 0;
    for (unsigned i = 0; i < 3000; ++i) {
        ASSERT_TRUE(write(journal, weight("w1", 2 + i % 2)));
        largest = std::max(largest, static_cast<std::size_t>(fs::file_size(path())));
    }
    EXPECT_LE(largest, Journal::kMinCompacted + 4096);
    EXPECT_GT(largest, Journal::kMinCompacted / 2) << "the test did not fill it";
}

// A disk that fills up in the middle of a line, at every byte of it.
TEST_F(JournalTest, WhatCouldNotBeWrittenHasLeftNothing) {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    const StateDirectory held = directory();
    Journal journal = open(held);
    ASSERT_TRUE(write(journal, add("a", "10.1.1.13")));
    const auto size = fs::file_size(path());
    for (rlim_t room = 0; room < 40; ++room) {
        const rlimit full{size + room, before.rlim_max};
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
        const auto refused = write(journal, weight("w1", 5));
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().cause, Error::Cause::machine);
        EXPECT_NE(refused.error().message.find("nothing was changed"), std::string::npos)
            << refused.error().message;
        ASSERT_EQ(fs::file_size(path()), size) << room;
    }
    ASSERT_TRUE(write(journal, weight("w1", 6))) << "there is room again";
    EXPECT_EQ(read_journal_text(*read_file(path(), 1 << 20), "")->entries, entries);
}

TEST_F(JournalTest, AFailedCompactionLeavesTheOldFile) {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    const StateDirectory held = directory();
    Journal journal = open(held);
    ASSERT_TRUE(write(journal, add("a", "10.1.1.13")));
    const rlimit full{10, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
    EXPECT_FALSE(journal.rewrite(entries));
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_EQ(read_journal_text(*read_file(path(), 1 << 20), "")->entries, entries);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

}  // namespace
}  // namespace weir
