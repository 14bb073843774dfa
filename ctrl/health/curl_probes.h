// libcurl's multi interface on the probes' epoll set: what http, https and grpc share.
//
// One connection a probe, never a kept one: a server that answers on an old connection may accept no new one.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "ctrl/health/probe_events.h"

namespace weir {

class CurlProbe;

class CurlProbes final : private Watcher {
  public:
    using Time = std::chrono::steady_clock::time_point;

    explicit CurlProbes(ProbeEvents& events);
    ~CurlProbes() override;
    CurlProbes(const CurlProbes&) = delete;
    CurlProbes& operator=(const CurlProbes&) = delete;

    // Lets libcurl do what it wanted to do by `now`.
    void serve(Time now);
    [[nodiscard]] std::optional<Time> wake_at() const { return wake_at_; }

  private:
    friend class CurlProbe;

    // A transfer with no options set.
    CURL* take();
    void give_back(CURL* transfer);
    void begin(CURL* transfer);
    void act(curl_socket_t socket, int events);

    void on_ready(int fd, std::uint32_t events) override;
    static int on_socket(CURL* transfer, curl_socket_t socket, int what, void* self, void* known);
    static int on_timer(CURLM* multi, long delay_ms, void* self);

    ProbeEvents& events_;
    CURLM* multi_;
    std::optional<Time> wake_at_;
    std::vector<CurlProbe*> by_socket_;  // of those that events_ watches
    std::vector<CURL*> idle_;            // their buffers are worth keeping
};

}  // namespace weir
