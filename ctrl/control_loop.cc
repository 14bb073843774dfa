#include "ctrl/control_loop.h"

#include <uv.h>

#include <list>

namespace weir {

struct ControlLoop::State {
    struct Signal {
        uv_signal_t handle;
        std::function<void()> callback;
    };
    struct Timer {
        uv_timer_t handle;
        std::function<void()> callback;
    };
    struct Descriptor {
        uv_poll_t handle;
        std::function<void()> callback;
    };
    uv_loop_t loop;
    // libuv keeps pointers to the handles: lists, because their elements do not move.
    std::list<Signal> signals;
    std::list<Timer> timers;
    std::list<Descriptor> descriptors;
};

ControlLoop::ControlLoop() : state_(std::make_unique<State>()) { uv_loop_init(&state_->loop); }

ControlLoop::~ControlLoop() {
    const auto close = [](uv_handle_t* handle, void*) { uv_close(handle, nullptr); };
    uv_walk(&state_->loop, close, nullptr);
    uv_run(&state_->loop, UV_RUN_DEFAULT);  // lets the handles finish closing
    uv_loop_close(&state_->loop);
}

void ControlLoop::on_signal(int signal, std::function<void()> callback) {
    auto& entry = state_->signals.emplace_back();
    entry.callback = std::move(callback);
    uv_signal_init(&state_->loop, &entry.handle);
    entry.handle.data = &entry;
    const auto call = [](uv_signal_t* handle, int) { static_cast<State::Signal*>(handle->data)->callback(); };
    uv_signal_start(&entry.handle, call, signal);
}

void ControlLoop::every(std::chrono::milliseconds period, std::function<void()> callback) {
    auto& entry = state_->timers.emplace_back();
    entry.callback = std::move(callback);
    uv_timer_init(&state_->loop, &entry.handle);
    entry.handle.data = &entry;
    const auto ms = static_cast<std::uint64_t>(period.count());
    const auto call = [](uv_timer_t* handle) { static_cast<State::Timer*>(handle->data)->callback(); };
    uv_timer_start(&entry.handle, call, ms, ms);
}

void ControlLoop::on_readable(int fd, std::function<void()> callback) {
    auto& entry = state_->descriptors.emplace_back();
    entry.callback = std::move(callback);
    uv_poll_init(&state_->loop, &entry.handle, fd);
    entry.handle.data = &entry;
    const auto call = [](uv_poll_t* handle, int, int) {
        static_cast<State::Descriptor*>(handle->data)->callback();
    };
    uv_poll_start(&entry.handle, UV_READABLE, call);
}

void ControlLoop::run() { uv_run(&state_->loop, UV_RUN_DEFAULT); }

void ControlLoop::stop() { uv_stop(&state_->loop); }

}  // namespace weir
