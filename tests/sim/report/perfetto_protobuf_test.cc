#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "io/file_bytes.h"
#include "sim/report/perfetto.h"
#include "support/shared.h"

namespace lastbit::sim::report {
namespace {

// A field of a protobuf message: a number or bytes.
struct Field {
  std::uint64_t value = 0;
  std::string bytes;
};
using Message = std::multimap<int, Field>;

std::uint64_t varint(std::string_view& text) {
  std::uint64_t value = 0;
  for (int shift = 0; !text.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

Message parsed(std::string_view text) {
  Message message;
  while (!text.empty()) {
    const std::uint64_t key = varint(text);
    Field field;
    if ((key & 7) == 0) {
      field.value = varint(text);
    } else {
      EXPECT_EQ(key & 7, 2u);
      const std::uint64_t size = varint(text);
      field.bytes = text.substr(0, size);
      text.remove_prefix(std::min<std::size_t>(size, text.size()));
    }
    message.emplace(static_cast<int>(key >> 3), field);
  }
  return message;
}

const Field& only(const Message& message, int number) {
  EXPECT_EQ(message.count(number), 1u) << number;
  return message.find(number)->second;
}

// Field numbers as in perfetto/trace/trace_packet.proto.
TEST(PerfettoTrace, HasTracksSlicesAndInternedNames) {
  const testing::TempDir dir;
  PerfettoTrace trace(dir.file("t.pftrace"));
  trace.name_process(0, "pipeline");
  trace.name_thread(0, 3, "rank 3");
  trace.span(0, 3, "F0.0", "forward", {1e-6}, {3e-6});
  trace.span(0, 3, "F0.0", "forward", {3e-6}, {4e-6});
  trace.counter(0, "in flight", {2e-6}, 7);
  trace.finish();
  const std::string bytes(io::FileBytes::open(dir.file("t.pftrace"))->text());
  std::vector<Message> packets;
  for (const auto& [number, field] : parsed(bytes)) {
    EXPECT_EQ(number, 1);
    packets.push_back(parsed(field.bytes));
  }
  ASSERT_EQ(packets.size(), 2u + 4 + 2);
  const Message process = parsed(only(packets[0], 60).bytes);
  const Message thread = parsed(only(packets[1], 60).bytes);
  EXPECT_EQ(only(parsed(only(process, 3).bytes), 6).bytes, "pipeline");
  EXPECT_EQ(only(parsed(only(thread, 4).bytes), 5).bytes, "rank 3");
  EXPECT_EQ(only(thread, 5).value, only(process, 1).value);
  const Message begin = parsed(only(packets[2], 11).bytes);
  EXPECT_EQ(only(packets[2], 8).value, 1000u);
  EXPECT_EQ(only(begin, 9).value, 1u);
  EXPECT_EQ(only(begin, 11).value, only(thread, 1).value);
  const Message names = parsed(only(packets[2], 12).bytes);
  const Message name = parsed(only(names, 2).bytes);
  EXPECT_EQ(only(name, 2).bytes, "F0.0");
  EXPECT_EQ(only(name, 1).value, only(begin, 10).value);
  const Message end = parsed(only(packets[3], 11).bytes);
  EXPECT_EQ(only(packets[3], 8).value, 3000u);
  EXPECT_EQ(only(end, 9).value, 2u);
  EXPECT_EQ(packets[4].count(12), 0u);  // the name is known by now
  EXPECT_EQ(only(packets[2], 13).value, 2u);
  EXPECT_EQ(only(packets[0], 13).value, 3u);  // the first packet clears what a reader remembers
  const Message counter = parsed(only(packets[7], 11).bytes);
  EXPECT_EQ(only(counter, 30).value, 7u);
  EXPECT_EQ(only(counter, 11).value, only(parsed(only(packets[6], 60).bytes), 1).value);
}

TEST(PerfettoTrace, TheExtensionSaysTheFormat) {
  const testing::TempDir dir;
  EXPECT_THROW((void)open_trace(dir.file("t.txt")), core::Error);
  open_trace(dir.file("t.json"))->finish();
  open_trace(dir.file("t.pftrace"))->finish();
}

}  // namespace
}  // namespace lastbit::sim::report
