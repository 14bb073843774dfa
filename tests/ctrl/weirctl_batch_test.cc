// Lines of `weirctl batch`, and addresses as operators write them.
#include "tools/weirctl/batch.h"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

TEST(WeirctlBatch, EndpointsInEveryForm) {
    const std::tuple<const char*, const char*, int> good[] = {
        {"10.1.1.13", "10.1.1.13", 0},
        {"10.1.1.13:80", "10.1.1.13", 80},
        {"2001:db8::13", "2001:db8::13", 0},
        {"[2001:db8::13]", "2001:db8::13", 0},
        {"[2001:db8::13]:65535", "2001:db8::13", 65'535},
    };
    for (const auto& [text, address, port] : good) {
        Change change;
        ASSERT_TRUE(read_endpoint(text, change)) << text;
        EXPECT_EQ(change.address, ip(address)) << text;
        EXPECT_EQ(change.port.value_or(0), port) << text;
    }
    for (const char* text :
         {"", ":", "10.1.1.13:", "10.1.1.13:0", "10.1.1.13:65536", "10.1.1.13:x", "10.1.1", "[10.1.1.13]:80",
          "[2001:db8::13", "[]:80", "[", "2001:db8::13]:80", "host:80", ":80"}) {
        Change change;
        EXPECT_FALSE(read_endpoint(text, change)) << text;
    }
}

TEST(WeirctlBatch, LinesAsAfterWeirctlBackend) {
    std::istringstream lines(
        "# a rack\n\n"
        "add web a 10.1.1.13:80 weight 2 zone z1\n"
        "add web b 10.1.1.14 --weight 3\n"
        "  remove web a now\n"
        "remove web b\ndrain web w1\nenable web w1\nweight web w2 7\n");
    const auto changes = read_batch(lines);
    ASSERT_TRUE(changes) << changes.error().message;
    std::string text;
    for (const Change& change : *changes) text += to_text(change) + '\n';
    EXPECT_EQ(
        text,
        "backend add web a 10.1.1.13:80 weight 2 zone z1\nbackend add web b 10.1.1.14 weight 3\n"
        "backend remove web a --now\nbackend remove web b\nbackend drain web w1\nbackend enable web w1\n"
        "backend weight web w2 7\n");
}

TEST(WeirctlBatch, AMistakeNamesItsLine) {
    for (const char* line : {"delete web a", "add web a", "add web a 10.1.1", "add web a 10.1.1.1 weight",
                             "add web a 10.1.1.1 colour red", "add web a 10.1.1.1 weight many", "remove web",
                             "remove web a later", "remove web a now now", "drain web a b", "weight web a",
                             "weight web a 1001", "weight web a -1", "drain w/b a"}) {
        std::istringstream lines(std::string("drain web a\n") + line + "\n");
        const auto changes = read_batch(lines);
        ASSERT_FALSE(changes) << line;
        EXPECT_EQ(changes.error().message.find("line 2: "), 0u) << changes.error().message;
    }
}

}  // namespace
}  // namespace weir
