// Clients of the control socket, good and bad, over a real socket: the loop runs between the test's steps.
#include "ctrl/api/control_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace weir {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

// Blocking, for the test's thread; the server is served by the loop in between.
class TestClient {
  public:
    explicit TestClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof(address.sun_path) - 1);
        connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    }
    ~TestClient() { ::close(fd_); }
    TestClient(const TestClient&) = delete;
    TestClient& operator=(const TestClient&) = delete;
    [[nodiscard]] bool connected() const { return connected_; }
    std::size_t send(std::string_view text) const {
        const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
        return sent < 0 ? 0 : static_cast<std::size_t>(sent);
    }
    // Everything so far; sets closed().
    const std::string& received() {
        char bytes[65'536];
        for (ssize_t got = 1; got > 0;) {
            got = ::recv(fd_, bytes, sizeof(bytes), 0);
            if (got > 0) text_.append(bytes, static_cast<std::size_t>(got));
            closed_ = closed_ || got == 0 || (got < 0 && errno == ECONNRESET);
        }
        return text_;
    }
    [[nodiscard]] std::size_t answers() {
        return static_cast<std::size_t>(std::ranges::count(received(), '\n'));
    }
    bool closed() { return received(), closed_; }
    void end_sending() const { ::shutdown(fd_, SHUT_WR); }

  private:
    int fd_;
    bool connected_ = false, closed_ = false;
    std::string text_;
};

const std::string kAsk = R"({"version":1,"command":"echo","arguments":{"n":1}})"
                         "\n";

class ControlServerTest : public testing::Test {
  protected:
    ControlServerTest() {
        std::string name = fs::temp_directory_path() / "weir-control-XXXXXX";
        folder = mkdtemp(name.data());
        path = folder / "control.sock";
        server = std::make_unique<ControlServer>(
            std::move(*ControlSocket::open(path)), loop,
            [this](const Request& request, const Peer& peer, const ControlServer::Reply& reply) {
                EXPECT_EQ(peer.uid, ::getuid());
                EXPECT_EQ(peer.pid, ::getpid());
                if (request.command == "wait") return held.push_back(reply);
                if (request.command == "long")
                    return reply(nlohmann::ordered_json(std::string(8 << 20, 'x')));
                reply(nlohmann::ordered_json(request.arguments));
            });
    }
    ~ControlServerTest() override {
        server.reset();
        fs::remove_all(folder);
    }
    void run(milliseconds time = milliseconds(30)) {
        loop.after(time, [this] { loop.stop(); });
        loop.run();
    }

    fs::path folder;
    std::string path;
    ControlLoop loop;
    std::vector<ControlServer::Reply> held;
    std::unique_ptr<ControlServer> server;
};

TEST_F(ControlServerTest, AnswersInOrderHoweverTheBytesCome) {
    TestClient pipelined(path), bytewise(path);
    std::string many;
    for (int i = 0; i < 500; ++i)
        many += R"({"version":1,"command":"echo","arguments":{"n":)" + std::to_string(i) + "}}\n";
    ASSERT_EQ(pipelined.send(many), many.size());
    for (const char byte : kAsk) {
        bytewise.send({&byte, 1});
        run(milliseconds(1));
    }
    for (int i = 0; i < 200 && pipelined.answers() < 500; ++i) run(milliseconds(50));
    EXPECT_EQ(bytewise.answers(), 1u);
    ASSERT_EQ(pipelined.answers(), 500u);
    std::size_t at = 0;
    for (int i = 0; i < 500; ++i) {
        at = pipelined.received().find("\"n\":" + std::to_string(i) + "}", at);
        ASSERT_NE(at, std::string::npos) << i;
    }
}

TEST_F(ControlServerTest, GarbageIsAnsweredAndTheNextRequestToo) {
    TestClient client(path);
    client.send("GET / HTTP/1.1\r\n\r\n" + kAsk);
    run();
    EXPECT_EQ(client.answers(), 3u);
    EXPECT_NE(client.received().find("is no JSON"), std::string::npos);
    EXPECT_NE(client.received().find("\"ok\":true"), std::string::npos);
}

TEST_F(ControlServerTest, AClientThatWaitsHoldsUpNobodyAndMayVanish) {
    auto waiting = std::make_unique<TestClient>(path);
    TestClient other(path);
    waiting->send("{\"version\":1,\"command\":\"wait\"}\n" + kAsk);
    run();
    other.send(kAsk);
    run();
    EXPECT_EQ(other.answers(), 1u);
    EXPECT_EQ(waiting->answers(), 0u) << "in order";
    ASSERT_EQ(held.size(), 1u);
    waiting.reset();
    run();
    held[0](nlohmann::ordered_json(1));
    run();
    EXPECT_EQ(server->clients(), 1u);
}

TEST_F(ControlServerTest, HalfClosedClientsGetTheirAnswers) {
    TestClient client(path);
    client.send(kAsk + kAsk + "{\"half");
    client.end_sending();
    run(milliseconds(60));
    EXPECT_EQ(client.answers(), 2u);
    EXPECT_TRUE(client.closed());
    EXPECT_EQ(server->clients(), 0u);
}

TEST_F(ControlServerTest, ATooLongRequestIsRefusedAndTheClientLeft) {
    TestClient client(path);
    const std::string piece(60'000, 'a');
    for (int i = 0; i < 200 && !client.closed(); ++i) {
        client.send(piece);
        run(milliseconds(2));
    }
    run();
    EXPECT_NE(client.received().find("at most 4194304 bytes"), std::string::npos) << client.received();
    EXPECT_TRUE(client.closed());
    EXPECT_EQ(server->clients(), 0u);
}

TEST_F(ControlServerTest, AnAnswerThatIsNotTakenStaysWithItsClient) {
    TestClient deaf(path), other(path);
    deaf.send("{\"version\":1,\"command\":\"long\"}\n" + kAsk);
    run();
    other.send(kAsk);
    run();
    EXPECT_EQ(other.answers(), 1u);
    for (int i = 0; i < 200 && deaf.answers() < 2; ++i) run(milliseconds(5));
    EXPECT_EQ(deaf.answers(), 2u);
    EXPECT_GT(deaf.received().size(), std::size_t{8} << 20);
}

TEST_F(ControlServerTest, OneMoreClientTakesThePlaceOfTheMostSilent) {
    std::vector<std::unique_ptr<TestClient>> slow;
    for (int i = 0; i < 100; ++i) {
        slow.push_back(std::make_unique<TestClient>(path));
        ASSERT_TRUE(slow.back()->connected());
        slow.back()->send("{");
        if (i % 10 == 9) run(milliseconds(5));
    }
    run();
    EXPECT_EQ(server->clients(), ControlServer::kMaxClients);
    EXPECT_TRUE(slow.front()->closed());
    TestClient good(path);
    good.send(kAsk);
    run();
    EXPECT_EQ(good.answers(), 1u);
}

TEST_F(ControlServerTest, WhileAllWaitOneMoreIsToldSo) {
    std::vector<std::unique_ptr<TestClient>> waiting;
    for (std::size_t i = 0; i < ControlServer::kMaxClients; ++i) {
        waiting.push_back(std::make_unique<TestClient>(path));
        waiting.back()->send("{\"version\":1,\"command\":\"wait\"}\n");
        run(milliseconds(2));
    }
    run();
    TestClient more(path);
    run();
    EXPECT_NE(more.received().find("64 clients wait for answers"), std::string::npos) << more.received();
    EXPECT_TRUE(more.closed());
    for (const auto& reply : held) reply(nlohmann::ordered_json(1));
    run();
    for (const auto& client : waiting) EXPECT_EQ(client->answers(), 1u);
}

TEST_F(ControlServerTest, TheSocketIsForOwnerAndGroupAndOfOneWeir) {
    struct stat status {};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0660u);
    const auto second = ControlSocket::open(path);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("another weir listens there"), std::string::npos);
    server.reset();
    EXPECT_FALSE(fs::exists(path));
    EXPECT_TRUE(ControlSocket::open(path));
}

TEST_F(ControlServerTest, StaleSocketsAreReplacedAndNothingElse) {
    const std::string stale = folder / "stale.sock", file = folder / "file", link = folder / "link";
    const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    stale.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(dead, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ::close(dead);
    EXPECT_TRUE(ControlSocket::open(stale));
    std::ofstream(file) << "mine";
    fs::create_symlink(file, link);
    for (const std::string& other : {file, link, folder.string()}) {
        const auto refused = ControlSocket::open(other);
        ASSERT_FALSE(refused) << other;
        EXPECT_NE(refused.error().message.find("file of another kind"), std::string::npos)
            << refused.error().message;
    }
    EXPECT_EQ(fs::file_size(file), 4u);
    // One that somebody else listens on, without the lock.
    const std::string foreign = folder / "foreign.sock";
    const int alive = ::socket(AF_UNIX, SOCK_STREAM, 0);
    address = {};
    address.sun_family = AF_UNIX;
    foreign.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(alive, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(alive, 1), 0);
    EXPECT_NE(ControlSocket::open(foreign).error().message.find("another program listens there"),
              std::string::npos);
    ::close(alive);
}

}  // namespace
}  // namespace weir
