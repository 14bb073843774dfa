// Published<T>: one immutable object that many workers read and one control thread replaces (RCU).
//
// Theory of operation. The control thread stores a pointer to a new object; each worker latches the pointer
// once per poll loop and, at the end of the loop, where it holds no pointer into the object, reports a
// quiescent state to rte_rcu_qsbr. An old object is freed when every worker that was online at the exchange
// has reported once since. A worker goes offline before it stops, or sleeps without watching a device, so
// that a sleeping worker delays nobody.
//
// Who may call: Reader methods, the worker that owns the reader; Publisher methods, the control thread.
// Memory order: publish() is a release store, latch() an acquire load, so a worker that sees the pointer sees
// all that was written before it, the counters' chunks included.
#pragma once

#include <rte_rcu_qsbr.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>

namespace weir {

template <class T>
class Published {
  public:
    explicit Published(std::uint32_t max_readers) : max_readers_(max_readers) {
        void* memory = std::aligned_alloc(
            RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(rte_rcu_qsbr_get_memsize(max_readers), RTE_CACHE_LINE_SIZE));
        if (memory == nullptr) std::abort();  // a few KiB at the start: there is no going on
        qsbr_.reset(static_cast<rte_rcu_qsbr*>(memory));
        rte_rcu_qsbr_init(qsbr_.get(), max_readers);
    }

    // --- workers
    // -----------------------------------------------------------------------------------------------
    class Reader {
      public:
        Reader() = default;
        // The thread that will read.
        Reader(const Published& published, std::uint32_t id) : published_(&published), id_(id) {
            rte_rcu_qsbr_thread_register(published_->qsbr_.get(), id_);
            online();
        }
        [[nodiscard]] const T* latch() const noexcept {
            return published_->current_.load(std::memory_order_acquire);
        }
        // No pointer into T is held here.
        void quiescent() const noexcept { rte_rcu_qsbr_quiescent(published_->qsbr_.get(), id_); }
        void offline() const noexcept { rte_rcu_qsbr_thread_offline(published_->qsbr_.get(), id_); }
        void online() const noexcept { rte_rcu_qsbr_thread_online(published_->qsbr_.get(), id_); }
        void leave() const noexcept {
            offline();
            rte_rcu_qsbr_thread_unregister(published_->qsbr_.get(), id_);
        }

      private:
        const Published* published_ = nullptr;
        std::uint32_t id_ = 0;
    };

    // --- the control thread
    // ------------------------------------------------------------------------------------ Puts `next` in
    // force for every loop that begins from now on. The old object stays until reclaim() finds it unused.
    void publish(std::unique_ptr<const T> next) {
        std::unique_ptr<const T> old(current_.exchange(next.release(), std::memory_order_acq_rel));
        if (old) retired_.push_back({rte_rcu_qsbr_start(qsbr_.get()), std::move(old)});
    }
    // Frees what no worker can hold any more; returns how many old objects are still waited for. Never
    // blocks.
    std::size_t reclaim() {
        while (!retired_.empty() && rte_rcu_qsbr_check(qsbr_.get(), retired_.front().token, false) == 1)
            retired_.pop_front();
        return retired_.size();
    }
    // The oldest object that reclaim() has left: a worker may be using it. Null before the first publish().
    [[nodiscard]] const T* oldest() const noexcept {
        return retired_.empty() ? current() : retired_.front().object.get();
    }
    [[nodiscard]] const T* current() const noexcept { return current_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint32_t max_readers() const noexcept { return max_readers_; }

    Published(const Published&) = delete;
    Published& operator=(const Published&) = delete;
    // Every reader has left.
    ~Published() { std::unique_ptr<const T>(current_.load()); }

  private:
    struct Retired {
        std::uint64_t token;
        std::unique_ptr<const T> object;
    };
    struct Free {
        void operator()(rte_rcu_qsbr* memory) const noexcept { std::free(memory); }
    };
    std::uint32_t max_readers_;
    std::unique_ptr<rte_rcu_qsbr, Free> qsbr_;
    std::atomic<const T*> current_{nullptr};
    std::deque<Retired> retired_;
};

}  // namespace weir
