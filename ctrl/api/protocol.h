// The control socket's language: one JSON object a line, in either direction, answers in the order of
// requests.
//
//   -> {"version":1,"command":"show","arguments":{"what":"backends"}}
//   <- {"version":1,"ok":true,"result":[ ... ]}
//   <- {"version":1,"ok":false,"cause":"operator","error":"there is no pool \"wbe\"; weirctl show pools lists
//   them"}
//
//   command   arguments                               result
//   show      what: services | pools | backends |     a list of objects; flows and drops: an object
//             flows | workers | ports | drops
//   change    changes: [ ... ] (ctrl/changes/change.h) {"changed":n,"generation":g,"warnings":[...]}
//   reload    dry_run: true | false                   {"changes":[...],"warnings":[...],"generation":g}
//   check     file: an absolute path {"warnings":[...],"changes":[...],"needs_restart":[...]} explain
//   protocol, from, to                      as weir explain --json version   none
//   {"version":"0.1.0","dpdk":"DPDK 22.11.11"}
//
// "cause" is "operator" or "machine": exit codes 1 and 2. Where there are several mistakes, "errors" lists
// the sentences. A change, and a reload, is answered once it is durable and in force in every worker.
//
// Pure functions; any thread.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "drivers/result.h"

namespace weir {

inline constexpr unsigned kProtocolVersion = 1;
// Some 40,000 additions. A client that has more sends several requests.
inline constexpr std::size_t kMaxRequestBytes = std::size_t{4} << 20;
inline constexpr std::size_t kMaxChanges = 50'000;

struct Request {
    std::string command;
    nlohmann::json arguments = nlohmann::json::object();
};

// `line` without its line feed, any bytes. An error is for the client.
[[nodiscard]] Result<Request> read_request(std::string_view line);
[[nodiscard]] std::string request_line(const Request& request);

// A line, with its line feed.
[[nodiscard]] std::string answer_line(const Result<nlohmann::ordered_json>& answer);
// What the server said. An error without words of the server's own is a machine_error.
[[nodiscard]] Result<nlohmann::ordered_json> read_answer(std::string_view line);

}  // namespace weir
