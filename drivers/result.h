// A value, or one sentence for the operator. std::expected is not in g++ 12.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace weir {

struct Error {
    // Exit codes of weir: the operator's mistake (a file, a name, a number), or the machine's (no memory,
    // device gone).
    enum class Cause : std::uint8_t { operator_mistake = 1, machine = 2 };

    std::string message;  // what, where, and what to do
    Cause cause = Cause::operator_mistake;
};

template <class T>
using Result = tl::expected<T, Error>;

inline auto operator_error(std::string message) {
    return tl::make_unexpected(Error{std::move(message), Error::Cause::operator_mistake});
}
inline auto machine_error(std::string message) {
    return tl::make_unexpected(Error{std::move(message), Error::Cause::machine});
}

}  // namespace weir
