// Twenty thousand damaged configurations: each is read, or refused with file and line. Seeded: a failure
// prints the mutant.
#include <algorithm>
#include <random>

#include "tests/ctrl/config_testing.h"

namespace weir {
namespace {

class Mutator {
  public:
    std::string mutant_of(std::string text) {
        for (std::size_t edits = 1 + below(4); edits > 0; --edits) edit(text);
        return text;
    }

  private:
    std::size_t below(std::size_t bound) {
        return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
    }

    void edit(std::string& text) {
        static constexpr std::array<std::string_view, 20> kPieces = {
            "{",          "}",  "(",    ")",  "[",  "]",   "\"",      ";",   ",", "=", "/*", "@include \"a\"",
            "5000000000", "-1", "true", "\\", "\n", "10s", "0.0.0.0", "\xff"};
        if (text.empty()) text = "a";
        const std::size_t at = below(text.size()), length = 1 + below(12);
        switch (below(6)) {
            case 0:
                text[at] = static_cast<char>(below(256));
                break;
            case 1:
                text.erase(at, length);
                break;
            case 2:
                text.insert(at, kPieces[below(kPieces.size())]);
                break;
            case 3:
                text.insert(at, text.substr(below(text.size()), 5 * length));
                break;
            case 4:
                text.replace(at, length, kPieces[below(kPieces.size())]);
                break;
            default:
                text.resize(at);
                break;
        }
    }

    std::mt19937_64 random_{20'261'122};
};

TEST(ConfigMutation, EachMutantIsReadOrRefusedWithALine) {
    Mutator mutator;
    std::size_t good = 0, bad = 0;
    const std::string original = good_text_but();
    for (int i = 0; i < 20'000; ++i) {
        const std::string text = mutator.mutant_of(original);
        const auto lines = static_cast<unsigned>(std::count(text.begin(), text.end(), '\n')) + 2;
        const ConfigResult result = read_config_text(text, "m.cfg");
        ASSERT_EQ(result.config.has_value(), errors_in(result) == 0) << text;
        for (const Diagnostic& diagnostic : result.diagnostics) {
            ASSERT_EQ(diagnostic.where.file, "m.cfg") << text;
            ASSERT_GE(diagnostic.where.line, 1u) << text;
            ASSERT_LE(diagnostic.where.line, lines) << text;
            ASSERT_FALSE(diagnostic.message.empty()) << text;
        }
        ++(result.config ? good : bad);
    }
    // Both kinds occur, or the mutator does not do what it is for.
    EXPECT_GT(good, 100u);
    EXPECT_GT(bad, 10'000u);
}

}  // namespace
}  // namespace weir
