// Run-time changes for tests, and a configuration file as a value with its index.
#pragma once

#include "ctrl/changes/journal_entry.h"
#include "tests/ctrl/config_builder.h"

namespace weir {

inline Change add(std::string name, std::string_view address, unsigned weight = 1, std::string pool = "web") {
    Change change;
    change.kind = Change::Kind::add;
    change.key = {std::move(pool), std::move(name)};
    change.address = ip(address);
    change.weight = weight;
    return change;
}
inline Change change_of(Change::Kind kind, std::string name, std::string pool = "web") {
    Change change;
    change.kind = kind;
    change.key = {std::move(pool), std::move(name)};
    return change;
}
inline Change removal(std::string name) { return change_of(Change::Kind::remove, std::move(name)); }
inline Change drain(std::string name) { return change_of(Change::Kind::drain, std::move(name)); }
inline Change enable(std::string name) { return change_of(Change::Kind::enable, std::move(name)); }
inline Change weight(std::string name, unsigned number) {
    Change change = change_of(Change::Kind::weight, std::move(name));
    change.weight = number;
    return change;
}

// What a file would have become.
struct FileConfig {
    explicit FileConfig(Config read) : config(std::move(read)), index(config) {}
    Config config;
    BackendIndex index;
};

}  // namespace weir
