// SharedList<T>: a list as a value whose copies share the elements until one of them is changed. So a
// configuration of 100,000 backends with one changed costs, to copy, to compare and to free, what its pools
// cost, not what its backends cost.
//
// The control thread: whether elements are shared is asked without a lock.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace weir {

template <class T>
class SharedList {
  public:
    SharedList() = default;
    SharedList(std::vector<T> items) : items_(std::make_shared<std::vector<T>>(std::move(items))) {}

    [[nodiscard]] const std::vector<T>& items() const noexcept { return *items_; }
    [[nodiscard]] auto begin() const noexcept { return items_->cbegin(); }
    [[nodiscard]] auto end() const noexcept { return items_->cend(); }
    [[nodiscard]] std::size_t size() const noexcept { return items_->size(); }
    [[nodiscard]] bool empty() const noexcept { return items_->empty(); }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return (*items_)[i]; }
    [[nodiscard]] const T& at(std::size_t i) const { return items_->at(i); }
    [[nodiscard]] const T& front() const noexcept { return items_->front(); }

    // This list's own elements, to be changed. Invalid once the list is copied.
    [[nodiscard]] std::vector<T>& change() {
        if (items_.use_count() != 1) items_ = std::make_shared<std::vector<T>>(*items_);
        return *items_;
    }
    friend bool operator==(const SharedList& a, const SharedList& b) {
        return a.items_ == b.items_ || *a.items_ == *b.items_;
    }

  private:
    std::shared_ptr<std::vector<T>> items_ = std::make_shared<std::vector<T>>();
};

}  // namespace weir
