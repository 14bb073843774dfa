#include "drivers/hugepages.h"

#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

namespace weir {
namespace {

namespace fs = std::filesystem;

std::uint64_t free_bytes_of(std::uint64_t page_bytes) {
    std::ifstream file("/sys/kernel/mm/hugepages/hugepages-" + std::to_string(page_bytes / 1024) +
                       "kB/free_hugepages");
    std::uint64_t pages = 0;
    return file >> pages ? pages * page_bytes : 0;
}

std::vector<fs::path> hugetlbfs_mounts() {
    std::vector<fs::path> found;
    std::ifstream mounts("/proc/mounts");
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream words(line);
        std::string source, mount, type;
        if (words >> source >> mount >> type && type == "hugetlbfs") found.emplace_back(mount);
    }
    return found;
}

std::vector<fs::path> files_of(const fs::path& mount, const std::string& file_prefix) {
    std::vector<fs::path> files;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(mount, ignored))
        if (entry.path().filename().string().starts_with(file_prefix + "map_")) files.push_back(entry.path());
    return files;
}

}  // namespace

void remove_hugepage_files(const std::string& file_prefix) {
    std::error_code ignored;
    for (const auto& mount : hugetlbfs_mounts())
        for (const auto& file : files_of(mount, file_prefix)) fs::remove(file, ignored);
}

Hugepages look_at_hugepages(const std::string& file_prefix) {
    Hugepages found;
    std::set<std::uint64_t> page_sizes;
    for (const auto& mount : hugetlbfs_mounts()) {
        struct statfs info {};
        if (statfs(mount.c_str(), &info) != 0) continue;
        found.mounted = true;
        found.writable = found.writable || access(mount.c_str(), W_OK) == 0;
        page_sizes.insert(static_cast<std::uint64_t>(info.f_bsize));
        for (const auto& file : files_of(mount, file_prefix)) {
            std::error_code error;
            const auto size = fs::file_size(file, error);
            if (!error) found.stale_bytes += size;
        }
    }
    for (const auto page_bytes : page_sizes) found.free_bytes += free_bytes_of(page_bytes);
    return found;
}

}  // namespace weir
