#include "tools/weirctl/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace weir {
namespace {

bool is_number(std::string_view cell) {
    return cell == "-" ||
           (!cell.empty() && cell.find_first_not_of("0123456789.,% ") == std::string_view::npos);
}

}  // namespace

std::string table_text(const std::vector<std::string>& titles,
                       const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    std::vector<bool> numbers;
    for (std::size_t column = 0; column < titles.size(); ++column) {
        std::size_t width = titles[column].size();
        bool all_numbers = !rows.empty();
        for (const auto& row : rows) {
            width = std::max(width, row[column].size());
            all_numbers = all_numbers && is_number(row[column]);
        }
        widths.push_back(width);
        numbers.push_back(all_numbers);
    }
    std::string text;
    const auto add_line = [&](const std::vector<std::string>& cells) {
        std::string line;
        for (std::size_t column = 0; column < cells.size(); ++column) {
            const std::string gap = column == 0 ? "" : "  ";
            line += gap + (numbers[column] ? fmt::format("{:>{}}", cells[column], widths[column])
                                           : fmt::format("{:<{}}", cells[column], widths[column]));
        }
        text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    };
    add_line(titles);
    for (const auto& row : rows) add_line(row);
    return text;
}

}  // namespace weir
