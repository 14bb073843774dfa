// One line of the good configuration replaced by a bad one, and what must be said about it.
#pragma once

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "tests/ctrl/config_testing.h"

namespace weir {

struct BadLine {
    const char* kind;
    std::size_t line;  // of the good configuration, replaced by
    std::string text;
    std::vector<const char*> words;  // that the message holds
    unsigned at = 0;                 // the error's line, if not `line`
    friend std::ostream& operator<<(std::ostream& out, const BadLine& bad) { return out << bad.kind; }
};

inline std::string in_dataplane(const std::string& keys) { return "dataplane = { " + keys + " };"; }
inline std::string in_timeouts(const std::string& keys) { return "timeouts = { " + keys + " };"; }
inline std::string in_port(const std::string& keys) {
    return "ports = ( { name = \"edge\"; device = \"net_null0\"; mtu = 1600; addresses = [ \"10.1.0.2/24\" "
           "]; " +
           keys + " } );";
}
inline std::string of_port(const std::string& keys) {
    return "ports = ( { name = \"edge\"; " + keys + " } );";
}
inline std::string in_pool(const std::string& keys) {
    return "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; } ); " + keys +
           " } );";
}
inline std::string in_backend(const std::string& keys) {
    return "pools = ( { name = \"web\"; backends = ( { name = \"a\"; " + keys + " } ); } );";
}
inline std::string in_check(const std::string& keys) { return in_pool("health_check = { " + keys + " };"); }
inline std::string service(const std::string& name, const std::string& vip, const std::string& port,
                           const std::string& more = "forwarding = \"dsr\";") {
    return "{ name = \"" + name + "\"; vip = \"" + vip + "\"; protocol = \"tcp\"; port = " + port +
           "; pool = \"web\"; " + more + " }";
}
inline std::string services(const std::string& list) { return "services = ( " + list + " );"; }

// Refused with exactly one error, at its line, with its words.
inline void expect_refused(const BadLine& bad) {
    const ConfigResult result = read_config_text(good_text_but(bad.line, bad.text), "bad.cfg");
    EXPECT_FALSE(result.config);
    ASSERT_EQ(errors_in(result), 1u) << all_text(result.diagnostics);
    const Diagnostic& error =
        *std::find_if(result.diagnostics.begin(), result.diagnostics.end(),
                      [](const auto& said) { return said.severity == Diagnostic::Severity::error; });
    EXPECT_EQ(error.where.file, "bad.cfg");
    EXPECT_EQ(error.where.line, bad.at != 0 ? bad.at : bad.line) << error.text();
    for (const char* word : bad.words)
        EXPECT_NE(error.message.find(word), std::string::npos) << word << " in " << error.text();
}

inline std::string kind_of(const ::testing::TestParamInfo<BadLine>& test) { return test.param.kind; }

}  // namespace weir
