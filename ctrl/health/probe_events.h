// The descriptors of all probes under way, as one descriptor: an epoll set that the control loop watches.
//
// Not the loop's own: it serves its timers before its descriptors, so that after a pause (a long callback, a
// stopped process) every probe would count as timed out, although its answer had been there all the time. The
// prober reads what has come with serve() before it looks at a deadline. And three thousand sockets a second
// cost one system call each here, five as handles of libuv.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <vector>

#include "dataplane/state/probe_ports.h"

namespace weir {

class Watcher {
  public:
    virtual ~Watcher() = default;
    // `events` of epoll(7). Must not close a descriptor and open another one with the same watcher's function
    // still to be called for it: sockets are opened by starting probes, which serve() does not do.
    virtual void on_ready(int fd, std::uint32_t events) = 0;
};

class ProbeEvents {
  public:
    // `ports`: where probes through a VIP say whom they are for; null: there can be none. Outlives this.
    explicit ProbeEvents(ProbePorts* ports = nullptr);
    ~ProbeEvents();
    ProbeEvents(const ProbeEvents&) = delete;
    ProbeEvents& operator=(const ProbeEvents&) = delete;

    // `watcher` outlives the watch. False: the kernel has no room for it.
    bool watch(int fd, std::uint32_t events, Watcher& watcher);
    void forget(int fd);
    // `fd` is about to be closed, which takes it out of the set without another system call.
    void forget_closing(int fd);

    // Calls the watchers of what is ready; does not wait.
    void serve();
    // Readable while something is ready.
    [[nodiscard]] int fd() const { return epoll_; }
    [[nodiscard]] ProbePorts* ports() const { return ports_; }

  private:
    ProbePorts* ports_;
    int epoll_;
    std::vector<Watcher*> watchers_;  // by descriptor
};

}  // namespace weir
