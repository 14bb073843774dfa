// Captures: what was written is read back, times to the nanosecond; broken files are named. No EAL.
#include <gtest/gtest.h>
#include <pcap/pcap.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "drivers/capture_reader.h"
#include "drivers/capture_writer.h"
#include "tests/drivers/says.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

class CaptureTest : public ::testing::Test {
  protected:
    CaptureTest() { fs::create_directories(folder_); }
    ~CaptureTest() override { fs::remove_all(folder_); }

    std::string path(const std::string& name) const { return (folder_ / name).string(); }

    void write_file(const std::string& name, const std::string& content) const {
        std::ofstream(path(name), std::ios::binary) << content;
    }
    std::string content(const std::string& name) const {
        std::ifstream file(path(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    static Bytes counting(std::size_t length) {
        Bytes bytes(length);
        std::iota(bytes.begin(), bytes.end(), std::uint8_t{1});
        return bytes;
    }
    void write_three(const std::string& name) const {
        auto writer = CaptureWriter::create(path(name));
        ASSERT_TRUE(writer) << writer.error().message;
        writer->write(0, counting(60));
        writer->write(1'700'000'000'123'456'789, counting(1514));
        writer->write(4'294'967'295'999'999'999, counting(65'535));
        ASSERT_TRUE(writer->close());
    }
    std::string open_refusal(const std::string& name) const {
        const auto reader = CaptureReader::open(path(name));
        return reader ? "accepted" : reader.error().message;
    }

  private:
    fs::path folder_ = fs::temp_directory_path() / ("weir-capture-" + std::to_string(getpid()));
};

TEST_F(CaptureTest, frames_and_nanoseconds_come_back_as_they_were_written) {
    write_three("three.pcap");
    auto reader = CaptureReader::open(path("three.pcap"));
    ASSERT_TRUE(reader) << reader.error().message;
    const std::pair<std::uint64_t, std::size_t> expected[] = {
        {0, 60}, {1'700'000'000'123'456'789, 1514}, {4'294'967'295'999'999'999, 65'535}};
    for (const auto& [time, length] : expected) {
        const auto frame = reader->next();
        ASSERT_TRUE(frame && *frame);
        EXPECT_EQ((*frame)->time_ns, time);
        EXPECT_EQ((*frame)->wire_length, length);
        EXPECT_EQ(Bytes((*frame)->bytes.begin(), (*frame)->bytes.end()), counting(length));
    }
    const auto end = reader->next();
    ASSERT_TRUE(end);
    EXPECT_FALSE(*end);
    EXPECT_EQ(count_records(path("three.pcap")).value(), 3u);
}

TEST_F(CaptureTest, the_same_calls_write_the_same_bytes) {
    write_three("a.pcap");
    write_three("b.pcap");
    EXPECT_EQ(content("a.pcap"), content("b.pcap"));
    EXPECT_EQ(content("a.pcap").size(), 24u + 3 * 16 + 60 + 1514 + 65'535);
}

TEST_F(CaptureTest, a_frame_that_the_capture_cut_keeps_both_lengths) {
    auto writer = CaptureWriter::create(path("cut.pcap"));
    ASSERT_TRUE(writer);
    writer->write(5, counting(96), 1500);
    ASSERT_TRUE(writer->close());
    auto reader = CaptureReader::open(path("cut.pcap"));
    ASSERT_TRUE(reader);
    const auto frame = reader->next();
    ASSERT_TRUE(frame && *frame);
    EXPECT_EQ((*frame)->bytes.size(), 96u);
    EXPECT_EQ((*frame)->wire_length, 1500u);
}

TEST_F(CaptureTest, a_capture_without_frames_is_a_capture) {
    auto writer = CaptureWriter::create(path("none.pcap"));
    ASSERT_TRUE(writer && writer->close());
    EXPECT_EQ(count_records(path("none.pcap")).value(), 0u);
}

TEST_F(CaptureTest, microsecond_files_are_read_as_nanoseconds) {
    // Magic for microseconds, version 2.4, link type 1; one record at 7 s + 9 us of 4 bytes.
    const std::uint32_t words[] = {0xa1b2c3d4, 0x00040002, 0, 0, 65'535, 1, 7, 9, 4, 4, 0xddccbbaa};
    write_file("micro.pcap", std::string(reinterpret_cast<const char*>(words), sizeof(words)));
    auto reader = CaptureReader::open(path("micro.pcap"));
    ASSERT_TRUE(reader) << reader.error().message;
    const auto frame = reader->next();
    ASSERT_TRUE(frame && *frame);
    EXPECT_EQ((*frame)->time_ns, 7'000'009'000u);
    EXPECT_EQ((*frame)->bytes[3], 0xdd);
}

TEST_F(CaptureTest, pcapng_is_read_too) {
    // Section header, interface (Ethernet, if_tsresol = 9: nanoseconds), one enhanced packet of 4 bytes.
    const std::uint32_t words[] = {0x0a0d0d0a, 28,          0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28, 1,  32,
                                   1,          0,           0x00010009, 9, 0,          32,         6,  36, 0,
                                   1,          705'032'711, 4,          4, 0xddccbbaa, 36};
    write_file("next.pcapng", std::string(reinterpret_cast<const char*>(words), sizeof(words)));
    auto reader = CaptureReader::open(path("next.pcapng"));
    ASSERT_TRUE(reader) << reader.error().message;
    const auto frame = reader->next();
    ASSERT_TRUE(frame && *frame) << frame.error().message;
    EXPECT_EQ((*frame)->time_ns, (std::uint64_t{1} << 32) + 705'032'711);
    EXPECT_EQ((*frame)->bytes.size(), 4u);
}

TEST_F(CaptureTest, a_file_that_breaks_off_gives_its_whole_frames_and_then_an_error) {
    write_three("whole.pcap");
    write_file("broken.pcap", content("whole.pcap").substr(0, 24 + 16 + 60 + 16 + 1000));
    auto reader = CaptureReader::open(path("broken.pcap"));
    ASSERT_TRUE(reader);
    EXPECT_TRUE(reader->next().value());
    const auto second = reader->next();
    ASSERT_FALSE(second);
    EXPECT_TRUE(says(second.error().message, {"broken.pcap", "broken after 1 frames", "truncated"}));
    EXPECT_TRUE(says(count_records(path("broken.pcap")).error().message, {"broken.pcap"}));
}

TEST_F(CaptureTest, what_is_not_an_ethernet_capture_is_refused_by_name) {
    write_file("empty.pcap", "");
    write_file("text.pcap", "this is a text of more than twenty-four bytes");
    EXPECT_TRUE(says(open_refusal("missing.pcap"), {"missing.pcap", "No such file"}));
    EXPECT_TRUE(says(open_refusal("empty.pcap"), {"empty.pcap", "empty"}));
    EXPECT_TRUE(says(open_refusal("text.pcap"), {"text.pcap", "not a pcap or pcapng capture"}));
    pcap* format = pcap_open_dead(DLT_LINUX_SLL, 100);
    pcap_dump_close(pcap_dump_open(format, path("any.pcap").c_str()));
    pcap_close(format);
    EXPECT_TRUE(says(open_refusal("any.pcap"), {"any.pcap", "LINUX_SLL", "EN10MB"}));
}

TEST_F(CaptureTest, a_folder_that_does_not_exist_cannot_be_written_into) {
    const auto writer = CaptureWriter::create(path("no/such/folder.pcap"));
    ASSERT_FALSE(writer);
    EXPECT_TRUE(says(writer.error().message, {"no/such/folder.pcap", "cannot be written"}));
}

TEST_F(CaptureTest, a_full_disk_is_told_when_the_capture_is_closed) {
    if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here to play a full disk";
    auto writer = CaptureWriter::create("/dev/full");
    if (writer) {
        for (int i = 0; i < 100; ++i) writer->write(0, counting(1514));
        const auto closed = writer->close();
        ASSERT_FALSE(closed);
        EXPECT_TRUE(says(closed.error().message, {"/dev/full", "not complete"}));
    } else {
        EXPECT_TRUE(says(writer.error().message, {"/dev/full"}));
    }
}

}  // namespace
}  // namespace weir::test
