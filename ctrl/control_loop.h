// The control core's one event loop: signals, timers and descriptors, on libuv.
//
// Everything that the control core does happens in a callback of this loop, on the thread that calls run().
// Callbacks must not block: while one runs, no signal is served.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace weir {

class ControlLoop {
  public:
    ControlLoop();
    ~ControlLoop();
    ControlLoop(const ControlLoop&) = delete;
    ControlLoop& operator=(const ControlLoop&) = delete;

    // Signals that arrive while the callback runs are coalesced into one more call.
    void on_signal(int signal, std::function<void()> callback);
    void every(std::chrono::milliseconds period, std::function<void()> callback);
    // Once.
    void after(std::chrono::milliseconds delay, std::function<void()> callback);
    // A timer that is not set at first.
    class Timer {
      public:
        virtual ~Timer() = default;
        // In milliseconds, rounded up, at least one; in place of an earlier time.
        virtual void set(std::chrono::nanoseconds delay) = 0;
        virtual void clear() = 0;
    };
    // As old as the loop. What `callback` uses outlives the loop's run().
    Timer& timer(std::function<void()> callback);
    // Called as long as there is something to read. `fd` outlives the loop's run().
    void on_readable(int fd, std::function<void()> callback);

    // A descriptor of which somebody wants to know more than one thing, or not for ever: a client's. Watching
    // ends with this object, which its own callback may destroy; before the loop and before `fd` is closed.
    class Watch {
      public:
        ~Watch();
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;
        void want(bool readable, bool writable);

      private:
        friend class ControlLoop;
        struct Handle;
        explicit Watch(Handle* handle) : handle_(handle) {}
        Handle* handle_;
    };
    // Nothing is wanted yet. Errors of the descriptor are told as whatever is wanted.
    [[nodiscard]] std::unique_ptr<Watch> watch(int fd, std::function<void()> callback);

    // `work` blocks: it runs on another thread. Then `done`, on this one; at the latest in the destructor.
    void in_background(std::function<void()> work, std::function<void()> done);

    // Returns after stop().
    void run();
    void stop();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weir
