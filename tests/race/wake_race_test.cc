// RxWait: whoever gives a sleeper something to do and then wakes it, is never left waiting for the sleep's
// limit.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "drivers/rx_wait.h"

namespace weir {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

void pass(microseconds time) {
    for (const auto end = Clock::now() + time; Clock::now() < end;) std::this_thread::yield();
}

// A sleeper as a worker is one: it announces its sleep, looks once more, sleeps.
class Sleeper {
  public:
    Sleeper() : thread_([this] { run(); }) {}
    ~Sleeper() {
        stop_.store(true);
        wait_.wake();
        thread_.join();
    }
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;

    void give(std::uint64_t work) {
        given_.store(work, std::memory_order_relaxed);
        wait_.wake();
    }
    [[nodiscard]] std::uint64_t done() const { return done_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint64_t sleeps() const { return sleeps_.load(); }
    [[nodiscard]] std::uint64_t overslept() const { return overslept_.load(); }

  private:
    void run() {
        while (!stop_.load(std::memory_order_relaxed)) {
            const std::uint64_t given = given_.load(std::memory_order_relaxed);
            if (given != done_.load(std::memory_order_relaxed)) {
                wait_.cancel();
                done_.store(given, std::memory_order_release);
            } else if (!wait_.is_prepared()) {
                wait_.prepare();
            } else {
                sleeps_.fetch_add(1);
                if (wait_.sleep(seconds(5)) == RxWait::Ended::by_time) overslept_.fetch_add(1);
            }
        }
    }

    RxWait wait_{{}};
    std::atomic<std::uint64_t> given_{0}, done_{0}, sleeps_{0}, overslept_{0};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

TEST(WakeRace, no_wake_up_is_lost_over_random_gaps) {
    constexpr std::uint64_t kRounds = 10'000;
    Sleeper sleeper;
    std::mt19937 random(11);
    for (std::uint64_t round = 1; round <= kRounds; ++round) {
        pass(microseconds(random() % 40));
        sleeper.give(round);
        const auto given = Clock::now();
        while (sleeper.done() != round) {
            ASSERT_LT(Clock::now() - given, seconds(4)) << "round " << round;
            std::this_thread::yield();
        }
    }
    EXPECT_EQ(sleeper.overslept(), 0u);
    EXPECT_GT(sleeper.sleeps(), kRounds / 10) << "it has to have slept to be woken";
}

TEST(WakeRace, a_wake_up_of_somebody_awake_is_nothing) {
    RxWait wait({});
    wait.wake();
    wait.prepare();
    EXPECT_EQ(wait.sleep(std::chrono::milliseconds(1)), RxWait::Ended::by_time);
    wait.prepare();
    wait.wake();
    EXPECT_EQ(wait.sleep(seconds(60)), RxWait::Ended::by_wake);
    wait.prepare();
    wait.wake();
    wait.cancel();
    EXPECT_FALSE(wait.is_prepared());
    EXPECT_FALSE(wait.watches_queues());
}

}  // namespace
}  // namespace weir
