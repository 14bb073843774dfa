#include "ctrl/api/protocol.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "ctrl/changes/json_reader.h"

namespace weir {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// The deepest request has 4 levels. Each level of a document costs its reader far more than one byte.
constexpr int kMaxNesting = 8;

bool nests_too_deeply(std::string_view text) {
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted && c == '\\')
            ++i;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{') && ++depth > kMaxNesting)
            return true;
        else if (!quoted && (c == ']' || c == '}'))
            --depth;
    }
    return false;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        lines.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return lines;
}

std::string line_of(const ordered_json& object) {
    // Bytes of a client's that are no UTF-8 may stand in what it is told.
    return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace

Result<Request> read_request(std::string_view line) {
    if (nests_too_deeply(line))
        return operator_error(fmt::format("a request nests at most {} objects and lists", kMaxNesting));
    const json object = json::parse(line, nullptr, false);
    // To the parser a NUL byte is the end.
    if (object.is_discarded() || line.find('\0') != std::string_view::npos)
        return operator_error("a request is one JSON object on one line; this line is no JSON");
    try {
        const JsonReader reader(object, "a request");
        reader.allow({"version", "command", "arguments"});
        const json* version = reader.find("version");
        if (version == nullptr || *version != kProtocolVersion)
            reader.fail(fmt::format("needs \"version\": {}; this weir speaks no other", kProtocolVersion));
        Request request{reader.text("command"), json::object()};
        const json* arguments = reader.find("arguments");
        if (arguments == nullptr) return request;
        if (!arguments->is_object()) reader.fail("has arguments that are no object");
        request.arguments = *arguments;
        return request;
    } catch (const JsonMistake& mistake) {
        return operator_error(mistake.what());
    }
}

std::string request_line(const Request& request) {
    return line_of(
        {{"version", kProtocolVersion}, {"command", request.command}, {"arguments", request.arguments}});
}

std::string answer_line(const Result<ordered_json>& answer) {
    ordered_json object = {{"version", kProtocolVersion}, {"ok", answer.has_value()}};
    if (answer) {
        object["result"] = *answer;
        return line_of(object);
    }
    const Error& error = answer.error();
    object["cause"] = error.cause == Error::Cause::machine ? "machine" : "operator";
    const std::vector<std::string> lines = lines_of(error.message);
    object["error"] =
        lines.size() == 1 ? lines[0] : fmt::format("{} mistakes, and nothing was changed", lines.size());
    if (lines.size() > 1) object["errors"] = lines;
    return line_of(object);
}

Result<ordered_json> read_answer(std::string_view line) {
    const auto strange = [] {
        return machine_error("weir's answer cannot be understood; weir and weirctl must be of one version");
    };
    ordered_json object = ordered_json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("ok") || !object["ok"].is_boolean()) return strange();
    if (object["ok"] == true && object.contains("result")) return object["result"];
    if (!object.contains("error") || !object["error"].is_string()) return strange();
    std::string sentences;
    if (object.contains("errors") && object["errors"].is_array())
        for (const ordered_json& one : object["errors"])
            if (one.is_string()) sentences += one.get<std::string>() + '\n';
    sentences += object["error"].get<std::string>();
    const bool machine = object.contains("cause") && object["cause"] == "machine";
    return tl::make_unexpected(
        Error{sentences, machine ? Error::Cause::machine : Error::Cause::operator_mistake});
}

}  // namespace weir
