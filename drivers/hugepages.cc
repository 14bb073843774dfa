#include "drivers/hugepages.h"

#include <sys/vfs.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace weir {
namespace {

namespace fs = std::filesystem;

std::uint64_t free_bytes_of(std::uint64_t page_bytes) {
    std::ifstream file("/sys/kernel/mm/hugepages/hugepages-" + std::to_string(page_bytes / 1024) +
                       "kB/free_hugepages");
    std::uint64_t pages = 0;
    return file >> pages ? pages * page_bytes : 0;
}

std::uint64_t stale_bytes_in(const std::string& mount, const std::string& file_prefix) {
    std::uint64_t bytes = 0;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(mount, ignored)) {
        const std::string name = entry.path().filename().string();
        const auto size = entry.file_size(ignored);
        if (name.starts_with(file_prefix + "map_") && !ignored) bytes += size;
    }
    return bytes;
}

}  // namespace

Hugepages look_at_hugepages(const std::string& file_prefix) {
    Hugepages found;
    std::set<std::uint64_t> page_sizes;
    std::ifstream mounts("/proc/mounts");
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream words(line);
        std::string source, mount, type;
        struct statfs info {};
        if (!(words >> source >> mount >> type) || type != "hugetlbfs" || statfs(mount.c_str(), &info) != 0)
            continue;
        found.mounted = true;
        page_sizes.insert(static_cast<std::uint64_t>(info.f_bsize));
        found.stale_bytes += stale_bytes_in(mount, file_prefix);
    }
    for (const auto page_bytes : page_sizes) found.free_bytes += free_bytes_of(page_bytes);
    return found;
}

}  // namespace weir
