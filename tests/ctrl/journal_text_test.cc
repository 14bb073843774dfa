// The journal's text: what is written is read again; torn at every byte it loses the last line alone; damage
// is told.
#include "ctrl/changes/journal_text.h"

#include <gtest/gtest.h>

#include "tests/ctrl/change_builder.h"

namespace weir {
namespace {

constexpr const char* kPath = "changes.journal";

// Lines, and the entries after each of them.
struct Written {
    std::vector<std::string> lines;
    std::vector<JournalEntries> entries;
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const std::string& line : lines) all += line;
        return all;
    }
};

Written written() {
    const FileConfig file(web_config());
    Written result;
    result.lines.push_back(journal_of({}));
    JournalEntries entries;
    result.entries.push_back(entries);
    Change far = add("a", "fd00:1::13", 2);
    far.port = 8080;
    far.zone = "z1";
    const std::vector<std::vector<Change>> batches = {{far},
                                                      {weight("w1", 5), drain("w1")},
                                                      {removal("w2"), weight("a", 3)},
                                                      {add("w2", "10.1.1.99")},
                                                      {removal("a")},
                                                      {enable("w1"), weight("w1", 1)},
                                                      {drain("w2")}};
    for (const auto& batch : batches) {
        std::vector<BackendKey> keys;
        for (const Change& change : batch) {
            EXPECT_TRUE(enter(change, file.index, entries));
            keys.push_back(change.key);
        }
        result.lines.push_back(journal_line(keys, entries));
        result.entries.push_back(entries);
    }
    return result;
}

TEST(JournalText, EveryPrefixIsTheLinesThatAreWhole) {
    const Written all = written();
    const std::string text = all.text();
    std::size_t whole = 0, end = 0;
    for (std::size_t size = 0; size <= text.size(); ++size) {
        if (whole < all.lines.size() && size == end + all.lines[whole].size())
            end += all.lines[whole++].size();
        const auto read = read_journal_text(std::string_view(text).substr(0, size), kPath);
        if (whole == 0) {
            ASSERT_FALSE(read) << size;
            continue;
        }
        ASSERT_TRUE(read) << size << ": " << read.error().message;
        ASSERT_EQ(read->entries, all.entries[whole - 1]) << size;
        ASSERT_EQ(read->torn, size - end);
    }
    EXPECT_EQ(whole, all.lines.size());
}

TEST(JournalText, AllEntriesInOneAreTheSame) {
    const Written all = written();
    const auto read = read_journal_text(journal_of(all.entries.back()), kPath);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->entries, all.entries.back());
}

TEST(JournalText, AnyChangedByteIsDamageOrChangesNothing) {
    const Written all = written();
    const std::string text = all.text();
    for (std::size_t i = 0; i < text.size(); ++i)
        for (const char byte : {'\0', ' ', '7', '"', 'x', '\n', '\xff'}) {
            std::string damaged = text;
            damaged[i] = byte;
            const auto read = read_journal_text(damaged, kPath);
            if (!read) continue;
            // Within the last line feed it is torn; a blank between tokens means nothing.
            const bool last_line_torn =
                read->torn != 0 && read->entries == all.entries[all.entries.size() - 2];
            ASSERT_TRUE(read->entries == all.entries.back() || last_line_torn) << i << ": " << damaged;
        }
}

TEST(JournalText, DamageNamesTheLineAndWhatToDo) {
    const Written all = written();
    const std::string first = all.lines[0];
    const std::pair<std::string, const char*> cases[] = {
        {"", "changes.journal:1: is no journal"},
        {"{}\n", "move it away"},
        {R"({"format":"weir run-time changes","version":2})"
         "\n",
         "has format version 2, and this weir reads version 1"},
        {first + "{\n" + all.lines[1], "changes.journal:2: is no JSON"},
        {first + all.lines[1] + "[]\n", "changes.journal:3: the line is no object"},
        {first + R"({"crc32":"00000000","entries":[]})"
                 "\n",
         "another checksum"},
        {first + R"({"crc32":"00000000"})"
                 "\n",
         "no list of entries"},
    };
    for (const auto& [text, words] : cases) {
        const auto read = read_journal_text(text, kPath);
        ASSERT_FALSE(read) << text;
        EXPECT_EQ(read.error().cause, Error::Cause::operator_mistake);
        EXPECT_NE(read.error().message.find(words), std::string::npos) << read.error().message;
    }
}

TEST(JournalText, AThousandLinesHoldManyEntries) {
    const FileConfig file(web_config());
    JournalEntries entries;
    for (int i = 0; i < 2500; ++i)
        ASSERT_TRUE(enter(add("b" + std::to_string(i), "10.1.2.3"), file.index, entries));
    const std::string text = journal_of(entries);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
    EXPECT_EQ(read_journal_text(text, kPath)->entries, entries);
}

}  // namespace
}  // namespace weir
