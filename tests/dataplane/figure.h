// Measured figures in a test's output: `[ figure ] removed 1 of 100: 0.58 % of the other slots moved`.
#pragma once

#include <chrono>
#include <cstdio>

namespace weir {

template <class... Values>
void print_figure(const char* format, Values... values) {
    std::printf("[ figure ] ");
    std::printf(format, values...);
    std::printf("\n");
}
inline void print_figure(const char* text) { std::printf("[ figure ] %s\n", text); }

class Stopwatch {
  public:
    [[nodiscard]] double milliseconds() const {
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
    }

  private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace weir
