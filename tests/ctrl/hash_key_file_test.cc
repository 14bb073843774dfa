#include "ctrl/config/hash_key_file.h"

#include <sys/stat.h>

#include <set>
#include <thread>

#include "tests/ctrl/config_testing.h"

namespace weir {
namespace {

TEST(HashKeyFile, AbsentIsNoErrorAndNoKey) {
    const TemporaryFolder folder;
    const auto key = load_hash_key(folder.file("hash.key"));
    ASSERT_TRUE(key) << key.error().message;
    EXPECT_FALSE(*key);
}

TEST(HashKeyFile, IsCreatedOncePrivateAndWhole) {
    const TemporaryFolder folder;
    const std::string path = folder.file("hash.key");
    const auto first = load_or_create_hash_key(path);
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_TRUE(first->warning.empty()) << first->warning;
    EXPECT_NE(first->secret, HashKeySecret{});
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u);
    EXPECT_EQ(status.st_size, 65);
    const auto second = load_or_create_hash_key(path);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->secret, first->secret);
    // Nothing temporary is left.
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.file("")), {}), 1);
}

TEST(HashKeyFile, StartersAgree) {
    for (int round = 0; round < 20; ++round) {
        const TemporaryFolder folder;
        std::vector<HashKeySecret> secrets(8);
        std::vector<std::thread> starters;
        for (HashKeySecret& secret : secrets)
            starters.emplace_back([&] {
                if (const auto key = load_or_create_hash_key(folder.file("hash.key"))) secret = key->secret;
            });
        for (std::thread& starter : starters) starter.join();
        EXPECT_EQ(std::set<HashKeySecret>(secrets.begin(), secrets.end()).size(), 1u);
        EXPECT_NE(secrets[0], HashKeySecret{});
    }
}

TEST(HashKeyFile, ReadsHexAndRefusesTheRest) {
    const TemporaryFolder folder;
    const std::string digits = std::string(62, '0') + "aF";
    for (const std::string& text : {digits, digits + "\n"}) {
        const auto key = load_hash_key(folder.write("good.key", text));
        ASSERT_TRUE(key && *key);
        EXPECT_EQ((*key)->secret[31], 0xaf);
        EXPECT_NE((*key)->warning.find("chmod 600"), std::string::npos);  // ofstream creates it 0644
    }
    for (const std::string& text :
         {std::string(), digits.substr(1), digits + "0", digits + "\n\n", digits.substr(1) + "g"}) {
        const auto key = load_or_create_hash_key(folder.write("bad.key", text));
        ASSERT_FALSE(key) << text;
        EXPECT_NE(key.error().message.find("bad.key: "), std::string::npos);
        EXPECT_NE(key.error().message.find("a hash key is 64"), std::string::npos) << key.error().message;
    }
    EXPECT_NE(load_hash_key(folder.file("")).error().message.find("is a folder"), std::string::npos);
    const auto nowhere = load_or_create_hash_key(folder.file("absent/hash.key"));
    ASSERT_FALSE(nowhere);
    EXPECT_NE(nowhere.error().message.find("cannot create"), std::string::npos);
    EXPECT_NE(nowhere.error().message.find("create its folder"), std::string::npos);
}

}  // namespace
}  // namespace weir
