#include "ctrl/control_loop.h"

#include <uv.h>

#include <iterator>
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
    struct OneShot {
        uv_timer_t handle;
        std::function<void()> callback;
        std::list<OneShot>& all;
        std::list<OneShot>::iterator place;
    };
    struct Resettable final : ControlLoop::Timer {
        uv_timer_t handle;
        std::function<void()> callback;

        void set(std::chrono::nanoseconds delay) override {
            // libuv counts from the time at which the present callback began, or an earlier one.
            uv_update_time(handle.loop);
            // At least one: a timer of 0 that is set in its own callback strikes again before libuv looks at
            // anything else, and again.
            const auto ms = std::chrono::ceil<std::chrono::milliseconds>(delay).count();
            const auto call = [](uv_timer_t* timer) { static_cast<Resettable*>(timer->data)->callback(); };
            uv_timer_start(&handle, call, ms > 1 ? static_cast<std::uint64_t>(ms) : 1, 0);
        }
        void clear() override { uv_timer_stop(&handle); }
    };
    struct Poll {
        uv_poll_t handle;
        std::function<void()> callback;
    };
    uv_loop_t loop;
    // libuv keeps pointers to the handles: lists, because their elements do not move.
    std::list<Signal> signals;
    std::list<Timer> timers;
    std::list<OneShot> one_shots;  // an element goes once its handle is closed
    std::list<Resettable> resettable;
    std::list<Poll> polls;
};

ControlLoop::ControlLoop() : state_(std::make_unique<State>()) { uv_loop_init(&state_->loop); }

ControlLoop::~ControlLoop() {
    const auto close = [](uv_handle_t* handle, void*) {
        if (uv_is_closing(handle) == 0) uv_close(handle, nullptr);
    };
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

void ControlLoop::after(std::chrono::milliseconds delay, std::function<void()> callback) {
    auto& all = state_->one_shots;
    auto& entry = all.emplace_back(State::OneShot{{}, std::move(callback), all, {}});
    entry.place = std::prev(all.end());
    uv_timer_init(&state_->loop, &entry.handle);
    entry.handle.data = &entry;
    const auto call = [](uv_timer_t* handle) {
        static_cast<State::OneShot*>(handle->data)->callback();
        uv_close(reinterpret_cast<uv_handle_t*>(handle), [](uv_handle_t* closed) {
            const auto* one_shot = static_cast<State::OneShot*>(closed->data);
            one_shot->all.erase(one_shot->place);
        });
    };
    uv_timer_start(&entry.handle, call, static_cast<std::uint64_t>(delay.count()), 0);
}

ControlLoop::Timer& ControlLoop::timer(std::function<void()> callback) {
    auto& entry = state_->resettable.emplace_back();
    entry.callback = std::move(callback);
    uv_timer_init(&state_->loop, &entry.handle);
    entry.handle.data = &entry;
    return entry;
}

void ControlLoop::on_readable(int fd, std::function<void()> callback) {
    auto& entry = state_->polls.emplace_back();
    entry.callback = std::move(callback);
    uv_poll_init(&state_->loop, &entry.handle, fd);
    entry.handle.data = &entry;
    static constexpr uv_poll_cb kCall = [](uv_poll_t* handle, int status, int) {
        // libuv leaves a socket with a pending error (netlink's ENOBUFS) alone; reading it clears the error.
        if (status < 0) uv_poll_start(handle, UV_READABLE, kCall);
        static_cast<State::Poll*>(handle->data)->callback();
    };
    uv_poll_start(&entry.handle, UV_READABLE, kCall);
}

// Freed by the loop, once libuv has let go of the handle.
struct ControlLoop::Watch::Handle {
    uv_poll_t poll;
    std::function<void()> callback;
};

std::unique_ptr<ControlLoop::Watch> ControlLoop::watch(int fd, std::function<void()> callback) {
    auto* handle = new Watch::Handle{{}, std::move(callback)};
    uv_poll_init(&state_->loop, &handle->poll, fd);
    handle->poll.data = handle;
    return std::unique_ptr<Watch>(new Watch(handle));
}

void ControlLoop::Watch::want(bool readable, bool writable) {
    const int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    if (events == 0) {
        uv_poll_stop(&handle_->poll);
        return;
    }
    uv_poll_start(&handle_->poll, events,
                  [](uv_poll_t* poll, int, int) { static_cast<Handle*>(poll->data)->callback(); });
}

ControlLoop::Watch::~Watch() {
    uv_close(reinterpret_cast<uv_handle_t*>(&handle_->poll),
             [](uv_handle_t* closed) { delete static_cast<Handle*>(closed->data); });
}

void ControlLoop::in_background(std::function<void()> work, std::function<void()> done) {
    struct Job {
        uv_work_t request;
        std::function<void()> work, done;
    };
    auto* job = new Job{{}, std::move(work), std::move(done)};
    job->request.data = job;
    uv_queue_work(
        &state_->loop, &job->request, [](uv_work_t* request) { static_cast<Job*>(request->data)->work(); },
        [](uv_work_t* request, int) {
            const std::unique_ptr<Job> ended(static_cast<Job*>(request->data));
            ended->done();
        });
}

void ControlLoop::run() { uv_run(&state_->loop, UV_RUN_DEFAULT); }

void ControlLoop::stop() { uv_stop(&state_->loop); }

}  // namespace weir
