// Strict, typed access to one group of a parsed configuration. libconfig's own lookupValue() says false both
// for a missing key and for a wrong type, and turns -1 into 0: here each of them is a sentence with a line.
//
// Every key that a reader is asked for is a known key; finish() refuses the others. A target keeps its value
// (the default) when its key is absent or wrong. Control side, one thread.
#pragma once

#include <libconfig.h++>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "ctrl/config/diagnostics.h"
#include "ctrl/config/source_text.h"
#include "dataplane/net/address.h"

namespace weir {

struct IntegerRange {
    std::int64_t min, max;
};
struct DurationRange {
    Duration min, max;
};
struct SizeRange {
    std::uint64_t min, max;
};

// A text and where it stands.
struct TextAt {
    std::string text;
    SourceLine where;
};

class GroupReader {
  public:
    using Setting = libconfig::Setting;

    // `what` begins each message: "", "dataplane", "pool \"web\"". Precondition: setting.isGroup(). All three
    // references outlive this.
    GroupReader(const Setting& group, std::string what, const SourceText& source, Diagnostics& diagnostics);

    [[nodiscard]] SourceLine where() const { return where_of(group_); }
    [[nodiscard]] SourceLine where_of(const Setting& setting) const;
    [[nodiscard]] const std::string& what() const noexcept { return what_; }

    // Reports each key that is not there.
    void require(std::initializer_list<const char*> keys);
    // The setting, or nullptr if absent. Makes `key` known.
    const Setting* find(const char* key);

    void read(const char* key, bool& target);
    void read(const char* key, std::string& target);
    void read(const char* key, DurationRange range, Duration& target);
    void read_size(const char* key, SizeRange range, std::uint64_t& target);
    void read(const char* key, IpAddress& target);
    void read(const char* key, IpPrefix& target);
    template <class Integer>
    requires std::is_integral_v<Integer>
    void read(const char* key, IntegerRange range, Integer& target) {
        if (const auto value = integer(key, range)) target = static_cast<Integer>(*value);
    }
    template <class Integer>
    void read(const char* key, IntegerRange range, std::optional<Integer>& target) {
        if (const auto value = integer(key, range)) target = static_cast<Integer>(*value);
    }
    // One of the `choices`.
    template <class Enum>
    void read(const char* key, std::initializer_list<std::pair<std::string_view, Enum>> choices,
              Enum& target) {
        std::vector<std::string_view> names;
        for (const auto& choice : choices) names.push_back(choice.first);
        if (const auto index = choice_of(key, names)) target = (choices.begin() + *index)->second;
    }
    // A text that `parse` takes: const T& -> Result<Value>. The error's message is completed with the key.
    template <class Value, class Parse>
    void read_text(const char* key, Parse parse, Value& target) {
        const auto text = text_of(key);
        if (!text) return;
        auto value = parse(*text);
        if (value)
            target = std::move(*value);
        else
            error(key, value.error().message);
    }
    // The index of the key's text among `names`.
    std::optional<std::size_t> choice_of(const char* key, const std::vector<std::string_view>& names);
    // The texts of an array or a list.
    std::vector<TextAt> texts(const char* key);
    // The numbers of an array or a list.
    std::vector<std::int64_t> integers(const char* key, IntegerRange range);
    // A group in this group.
    void group(const char* key, const std::function<void(GroupReader&)>& read_group);
    // The groups of a list, called `one` ("pool") in messages; at most `limit` of them.
    void each(const char* key, const char* one, std::size_t limit,
              const std::function<void(GroupReader&)>& read_group);
    // A key that is not built: any value is refused. `instead`: what to do.
    void not_built(const char* key, std::string_view instead);

    // `message` goes on after "KEY": "is 7; allowed: ...".
    void error(const char* key, const std::string& message);
    void error_at(const SourceLine& where, const std::string& message);
    void warning(const char* key, const std::string& message);
    // The lines of the keys, for rules that are checked later.
    [[nodiscard]] KeyLines key_lines();
    // Refuses the keys that nobody asked for.
    void finish();

  private:
    std::optional<std::int64_t> integer(const char* key, IntegerRange range);
    std::optional<std::int64_t> integer_of(const char* key, const Setting& setting, IntegerRange range);
    std::optional<std::string> text_of(const char* key);
    // "is the number 7", "is a list": for messages about wrong types.
    [[nodiscard]] static std::string shown(const Setting& setting);
    [[nodiscard]] std::string prefix() const { return what_.empty() ? "" : what_ + ": "; }

    const Setting& group_;
    std::string what_;
    const SourceText& source_;
    Diagnostics& diagnostics_;
    std::vector<std::string_view> known_;
};

}  // namespace weir
