// What a sentence for the operator must name.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

namespace weir::test {

// True if the text has every one of the words.
inline ::testing::AssertionResult says(const std::string& text, std::initializer_list<const char*> words) {
    for (const char* word : words)
        if (text.find(word) == std::string::npos)
            return ::testing::AssertionFailure() << "\"" << text << "\" does not say \"" << word << "\"";
    return ::testing::AssertionSuccess();
}

}  // namespace weir::test
