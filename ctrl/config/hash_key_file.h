// The secret that keys backend selection (DESIGN.md section 3, "Two keys"): 32 bytes as 64 hex digits and a
// newline, the same file on every weir of a cluster. Control thread; blocking file I/O.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "dataplane/net/aes_hash.h"
#include "drivers/result.h"

namespace weir {

using HashKeySecret = std::array<std::uint8_t, kHashKeyBytes>;

struct HashKeyFile {
    HashKeySecret secret{};
    // A sentence for the log if others may read the file; the key is used all the same. Else empty.
    std::string warning;
};

// The key in `path`; no value inside the Result if there is no such file. An error if it is unreadable or
// holds anything but 64 hex digits (a final newline is optional).
[[nodiscard]] Result<std::optional<HashKeyFile>> load_hash_key(const std::string& path);

// The same, but an absent file is created once with a random key, mode 0600. Two weirs that start together
// agree on one key, and a crash at any moment leaves either no file or a whole one.
[[nodiscard]] Result<HashKeyFile> load_or_create_hash_key(const std::string& path);

}  // namespace weir
