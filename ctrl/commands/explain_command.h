// `weir explain`: which backend a flow gets, and why, from the functions that the packet path uses.
#pragma once

#include <string>
#include <vector>

namespace weir {

struct ExplainRequest {
    std::string config_file;
    std::string protocol;  // "tcp" or "udp"
    std::string from, to;  // ADDRESS:PORT, [ADDRESS]:PORT for IPv6
    std::vector<std::string> down;
    bool json = false;
};

// Exit code.
int explain_command(const ExplainRequest& request);

}  // namespace weir
