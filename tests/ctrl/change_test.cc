// A change from JSON: what is taken, and what is refused with which words.
#include "ctrl/changes/change.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/ctrl/change_builder.h"

namespace weir {
namespace {

using nlohmann::json;

TEST(Change, GoodOnesAreReadAndWrittenBack) {
    for (
        const char* text : {
            R"({"change":"add","pool":"web","name":"a","address":"10.1.1.13","weight":1})",
            R"({"change":"add","pool":"web","name":"a","address":"fd00:1::13","port":8080,"weight":0,"zone":"z1"})",
            R"({"change":"remove","pool":"web","name":"a"})",
            R"({"change":"remove","pool":"web","name":"a","now":true})",
            R"({"change":"drain","pool":"web","name":"a"})",
            R"({"change":"enable","pool":"web","name":"a"})",
            R"({"change":"weight","pool":"web","name":"a","weight":1000})",
        }) {
        const auto change = read_change(json::parse(text));
        ASSERT_TRUE(change) << text << ": " << change.error().message;
        EXPECT_EQ(to_json(*change), json::parse(text));
    }
}

TEST(Change, SaysWhatIsAllowed) {
    const std::pair<const char*, const char*> cases[] = {
        {R"([])", "is no object"},
        {R"({"pool":"web","name":"a"})", "needs change, a text"},
        {R"({"change":7,"pool":"web","name":"a"})", "needs change, a text, not another type"},
        {R"({"change":"delete","pool":"web","name":"a"})", "allowed: \"add\", \"remove\""},
        {R"({"change":"drain","pool":"web"})", "needs name, a text"},
        {R"({"change":"drain","pool":"we b","name":"a"})", "pool"},
        {R"({"change":"drain","pool":"web","name":"a","weight":3})", "unknown key \"weight\""},
        {R"({"change":"add","pool":"web","name":"a"})", "needs address"},
        {R"({"change":"add","pool":"web","name":"a","address":"10.1.1"})",
         "allowed: an IPv4 or IPv6 address"},
        {R"({"change":"add","pool":"web","name":"a","address":"10.1.1.1","port":0})", "allowed: 1 to 65,535"},
        {R"({"change":"add","pool":"web","name":"a","address":"10.1.1.1","port":65536})", "is 65536"},
        {R"({"change":"add","pool":"web","name":"a","address":"10.1.1.1","port":"80"})", "type string"},
        {R"({"change":"add","pool":"web","name":"a","address":"10.1.1.1","zone":""})", "zone"},
        {R"({"change":"weight","pool":"web","name":"a"})", "needs weight; allowed: 0 to 1,000"},
        {R"({"change":"weight","pool":"web","name":"a","weight":-1})", "is -1; allowed: 0 to 1,000"},
        {R"({"change":"weight","pool":"web","name":"a","weight":18446744073709551615})",
         "is 18446744073709551615"},
        {R"({"change":"weight","pool":"web","name":"a","weight":1.5})", "is 1.5"},
        {R"({"change":"remove","pool":"web","name":"a","now":1})", "allowed: true, false"},
    };
    for (const auto& [text, words] : cases) {
        const auto change = read_change(json::parse(text));
        ASSERT_FALSE(change) << text;
        EXPECT_EQ(change.error().cause, Error::Cause::operator_mistake);
        EXPECT_NE(change.error().message.find(words), std::string::npos)
            << text << ": " << change.error().message;
        EXPECT_EQ(change.error().message.find("a change "), 0u) << change.error().message;
    }
}

TEST(Change, AsTheOperatorWouldTypeIt) {
    Change change = add("a", "fd00:1::13", 2);
    EXPECT_EQ(to_text(change), "backend add web a fd00:1::13 weight 2");
    change.port = 80;
    change.zone = "z1";
    EXPECT_EQ(to_text(change), "backend add web a [fd00:1::13]:80 weight 2 zone z1");
    EXPECT_EQ(to_text(weight("a", 7)), "backend weight web a 7");
    Change gone = removal("a");
    gone.now = true;
    EXPECT_EQ(to_text(gone), "backend remove web a --now");
}

}  // namespace
}  // namespace weir
