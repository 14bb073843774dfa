#include "ctrl/config/hash_key_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "ctrl/config/read_file.h"

namespace weir {
namespace {

constexpr std::size_t kDigits = 2 * std::tuple_size_v<HashKeySecret>;

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Never shows the text: it may be nearly a key.
Result<HashKeySecret> parse_key(const std::string& path, std::string_view text) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (text.size() != kDigits)
        return operator_error(
            fmt::format("{}: holds {} characters; a hash key is {} hex digits and a newline. Copy "
                        "the file of another weir of the cluster, or delete it and weir makes one",
                        path, text.size(), kDigits));
    HashKeySecret secret{};
    for (std::size_t i = 0; i < secret.size(); ++i) {
        const int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return operator_error(
                fmt::format("{}: character {} or {} is no hex digit; a hash key is {} of 0-9 a-f and "
                            "a newline",
                            path, 2 * i + 1, 2 * i + 2, kDigits));
        secret[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return secret;
}

std::string failure(const std::string& path, const char* what) {
    return fmt::format(
        "{}: cannot {} the hash key file: {}; create its folder and let the user that weir runs as "
        "{} the file, or change dataplane.hash_key_file",
        path, what, std::strerror(errno), what);
}

bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

Result<std::string> random_key_text() {
    HashKeySecret secret{};
    // At most 256 bytes are never returned in part.
    if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
        return machine_error(fmt::format("cannot get random bytes for a hash key: {}", std::strerror(errno)));
    std::string text;
    for (const std::uint8_t byte : secret) text += fmt::format("{:02x}", byte);
    return text + '\n';
}

// Makes the name durable, not only the content.
void sync_folder(const std::filesystem::path& folder) {
    const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    ::fsync(fd);
    ::close(fd);
}

// Writes a temporary file and links it to `path`. link() refuses an existing name, so of two starters the
// second keeps the first one's key; rename() would replace it.
Result<void> create_key(const std::string& path) {
    const auto text = random_key_text();
    if (!text) return tl::make_unexpected(text.error());
    std::string temporary = path + ".XXXXXX";
    const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);  // mode 0600
    if (fd < 0) return operator_error(failure(path, "create"));
    const bool written = write_all(fd, *text) && ::fsync(fd) == 0;
    const std::string write_failure = written ? "" : failure(path, "write");
    ::close(fd);
    const bool linked = written && (::link(temporary.c_str(), path.c_str()) == 0 || errno == EEXIST);
    const std::string link_failure = linked ? "" : failure(path, "create");
    ::unlink(temporary.c_str());
    if (!written) return machine_error(write_failure);
    if (!linked) return operator_error(link_failure);
    sync_folder(std::filesystem::path(path).parent_path());
    return {};
}

}  // namespace

Result<std::optional<HashKeyFile>> load_hash_key(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return std::optional<HashKeyFile>();
        return operator_error(failure(path, "open"));
    }
    constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
    const auto text = read_file(path, kMaxBytes);
    if (!text)
        return tl::make_unexpected(
            Error{fmt::format("{}: {}", path, text.error().message), text.error().cause});
    const auto secret = parse_key(path, *text);
    if (!secret) return tl::make_unexpected(secret.error());
    HashKeyFile file{*secret, {}};
    if ((status.st_mode & (S_IRGRP | S_IROTH | S_IWGRP | S_IWOTH)) != 0)
        file.warning = fmt::format(
            "{}: others may read or write it (mode {:04o}); who knows the key can aim flows at one "
            "backend: chmod 600 {}",
            path, status.st_mode & 07777, path);
    return std::optional(std::move(file));
}

Result<HashKeyFile> load_or_create_hash_key(const std::string& path) {
    auto file = load_hash_key(path);
    if (file && !*file) {
        const auto created = create_key(path);
        if (!created) return tl::make_unexpected(created.error());
        file = load_hash_key(path);  // ours, or the one of a weir that was faster
    }
    if (!file) return tl::make_unexpected(file.error());
    if (!*file) return operator_error(fmt::format("{}: the hash key file vanished while weir started", path));
    return std::move(**file);
}

}  // namespace weir
