// The control socket's language: requests, answers, and what is said to those who speak another.
#include "ctrl/api/protocol.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Protocol, ARequestIsReadAsItIsWritten) {
    const Request request{"show", {{"what", "backends"}}};
    const std::string line = request_line(request);
    ASSERT_EQ(line.back(), '\n');
    const auto read = read_request(std::string_view(line).substr(0, line.size() - 1));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->command, "show");
    EXPECT_EQ(read->arguments, request.arguments);
    EXPECT_TRUE(read_request(R"({"version":1,"command":"version"})")->arguments.is_object());
}

TEST(Protocol, WhatIsNoRequestIsToldWhy) {
    const std::pair<std::string, const char*> cases[] = {
        {"", "is no JSON"},
        {"GET / HTTP/1.1\r", "is no JSON"},
        {std::string("\0\0", 2), "is no JSON"},
        {std::string("{\"version\":1,\"command\":\"show\"}\0x", 33), "is no JSON"},
        {"[1,2]", "is no object"},
        {R"({"command":"show"})", "needs \"version\": 1"},
        {R"({"version":2,"command":"show"})", "speaks no other"},
        {R"({"version":"1","command":"show"})", "needs \"version\": 1"},
        {R"({"version":1})", "needs command"},
        {R"({"version":1,"command":5})", "needs command, a text, not another type"},
        {R"({"version":1,"command":"show","arguments":[]})", "arguments that are no object"},
        {R"({"version":1,"command":"show","colour":1})", "unknown key \"colour\""},
        {std::string(100'000, '['), "nests at most 8"},
        {R"({"version":1,"command":"x","arguments":{"a":[[[[[[[[1]]]]]]]]}})", "nests at most 8"},
    };
    for (const auto& [line, words] : cases) {
        const auto read = read_request(line);
        ASSERT_FALSE(read) << line;
        EXPECT_NE(read.error().message.find(words), std::string::npos) << read.error().message;
    }
    EXPECT_TRUE(read_request(R"({"version":1,"command":"[[[[[[[[[[[[\"[[["})"))  // in a text they are none
        << "brackets in a text";
}

TEST(Protocol, AnswersGoBothWays) {
    const nlohmann::ordered_json result = {{"changed", 3}};
    EXPECT_EQ(*read_answer(answer_line(result)), result);
    const auto refused = read_answer(answer_line(operator_error("no such pool")));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "no such pool");
    EXPECT_EQ(refused.error().cause, Error::Cause::operator_mistake);
    EXPECT_EQ(read_answer(answer_line(machine_error("disk full"))).error().cause, Error::Cause::machine);
    for (const char* strange : {"", "7", "{}", R"({"ok":1})", R"({"ok":true})", R"({"ok":false})"})
        EXPECT_EQ(read_answer(strange).error().cause, Error::Cause::machine) << strange;
}

TEST(Protocol, SeveralMistakesAreAListAndOneSentence) {
    const std::string line = answer_line(operator_error("w.cfg:1: a\nw.cfg:2: b"));
    EXPECT_EQ(line,
              R"({"version":1,"ok":false,"cause":"operator","error":"2 mistakes, and nothing was changed",)"
              R"("errors":["w.cfg:1: a","w.cfg:2: b"]})"
              "\n");
    EXPECT_EQ(read_answer(line).error().message,
              "w.cfg:1: a\nw.cfg:2: b\n2 mistakes, and nothing was changed");
}

TEST(Protocol, AnAnswerIsOneLineWhateverItQuotes) {
    const std::string line = answer_line(operator_error("name \xff\x01\r is none"));
    EXPECT_EQ(line.find('\n'), line.size() - 1);
}

}  // namespace
}  // namespace weir
