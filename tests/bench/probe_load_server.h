// The servers that probe_load probes: one process that answers on every address of loopback.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace weir::bench {

struct ProbeServer {
    pid_t process = -1;
    std::uint16_t tcp_port = 0, http_port = 0;
};

// Starts it, on CPU `cpu`. It ends with its parent.
[[nodiscard]] ProbeServer start_probe_server(unsigned cpu);

// Pins the calling thread.
void run_on(unsigned cpu);

}  // namespace weir::bench
