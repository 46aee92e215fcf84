// Perfetto's protobuf. Field numbers are those of perfetto/trace/trace_packet.proto and the files that it imports.
#include <array>

#include "core/error.h"
#include "sim/report/perfetto.h"

namespace lastbit::sim::report {
namespace {

constexpr std::size_t kProtobufFlushBytes = 1 << 20;
constexpr std::uint64_t kSequence = 1;

// Field numbers.
namespace field {
constexpr int kPacket = 1;
constexpr int kTimestamp = 8;
constexpr int kSequenceId = 10;
constexpr int kTrackEvent = 11;
constexpr int kInternedData = 12;
constexpr int kSequenceFlags = 13;
constexpr int kTrackDescriptor = 60;
constexpr int kUuid = 1;  // TrackDescriptor
constexpr int kTrackName = 2;
constexpr int kProcess = 3;
constexpr int kThread = 4;
constexpr int kParent = 5;
constexpr int kCounter = 8;
constexpr int kPid = 1;  // ProcessDescriptor, ThreadDescriptor
constexpr int kTid = 2;
constexpr int kThreadName = 5;
constexpr int kProcessName = 6;
constexpr int kCategoryIid = 3;  // TrackEvent
constexpr int kType = 9;
constexpr int kNameIid = 10;
constexpr int kTrack = 11;
constexpr int kCounterValue = 30;
constexpr int kCategories = 1;  // InternedData
constexpr int kNames = 2;
}  // namespace field

constexpr std::uint64_t kSliceBegin = 1;
constexpr std::uint64_t kSliceEnd = 2;
constexpr std::uint64_t kCounterType = 4;
constexpr std::uint64_t kCleared = 1;
constexpr std::uint64_t kNeedsState = 2;

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  out += static_cast<char>(value);
}

void put(std::string& out, int number, std::uint64_t value) {
  put_varint(out, static_cast<std::uint64_t>(number) << 3);
  put_varint(out, value);
}

void put(std::string& out, int number, std::string_view bytes) {
  put_varint(out, static_cast<std::uint64_t>(number) << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

std::uint64_t process_uuid(int process) { return (static_cast<std::uint64_t>(process) + 1) << 32; }
std::uint64_t thread_uuid(int process, int thread) {
  return process_uuid(process) + static_cast<std::uint64_t>(thread) + 1;
}
// Process and thread numbers from 1 on: 0 is the idle process to Perfetto.
std::uint64_t number(int index) { return static_cast<std::uint64_t>(index) + 1; }

}  // namespace

PerfettoTrace::PerfettoTrace(const std::string& path) : file_(path) {}

void PerfettoTrace::packet(std::string_view content) {
  std::string whole(content);
  put(whole, field::kSequenceId, kSequence);
  put(whole, field::kSequenceFlags, first_ ? kCleared | kNeedsState : kNeedsState);
  first_ = false;
  put(buffer_, field::kPacket, whole);
  if (buffer_.size() < kProtobufFlushBytes) return;
  file_.write(buffer_);
  buffer_.clear();
}

std::uint64_t PerfettoTrace::intern(std::string_view text, int field,
                                    std::unordered_map<std::string, std::uint64_t>& ids, std::string& interned) {
  const auto [place, added] = ids.try_emplace(std::string(text), ids.size() + 1);
  if (added) {
    std::string entry;
    put(entry, 1, place->second);
    put(entry, 2, text);
    put(interned, field, entry);
  }
  return place->second;
}

void PerfettoTrace::name_process(int process, std::string_view name) {
  std::string description;
  put(description, field::kPid, number(process));
  put(description, field::kProcessName, name);
  std::string track;
  put(track, field::kUuid, process_uuid(process));
  put(track, field::kProcess, description);
  std::string content;
  put(content, field::kTrackDescriptor, track);
  packet(content);
}

void PerfettoTrace::name_thread(int process, int thread, std::string_view name) {
  std::string description;
  put(description, field::kPid, number(process));
  put(description, field::kTid, (number(process) << 20) + number(thread));
  put(description, field::kThreadName, name);
  std::string track;
  put(track, field::kUuid, thread_uuid(process, thread));
  put(track, field::kParent, process_uuid(process));
  put(track, field::kThread, description);
  std::string content;
  put(content, field::kTrackDescriptor, track);
  packet(content);
}

void PerfettoTrace::span(int process, int thread, std::string_view name, std::string_view category, SimTime start,
                         SimTime end) {
  const std::int64_t start_ns = trace_ns(start);
  const std::int64_t end_ns = trace_ns(end);
  core::check(end_ns >= start_ns, "a span ends after it starts");
  std::string interned;
  const std::uint64_t name_id = intern(name, field::kNames, names_, interned);
  const std::uint64_t category_id = intern(category, field::kCategories, categories_, interned);
  std::string event;
  put(event, field::kCategoryIid, category_id);
  put(event, field::kType, kSliceBegin);
  put(event, field::kNameIid, name_id);
  put(event, field::kTrack, thread_uuid(process, thread));
  std::string content;
  put(content, field::kTimestamp, static_cast<std::uint64_t>(start_ns));
  put(content, field::kTrackEvent, event);
  if (!interned.empty()) put(content, field::kInternedData, interned);
  packet(content);
  event.clear();
  put(event, field::kType, kSliceEnd);
  put(event, field::kTrack, thread_uuid(process, thread));
  content.clear();
  put(content, field::kTimestamp, static_cast<std::uint64_t>(end_ns));
  put(content, field::kTrackEvent, event);
  packet(content);
}

void PerfettoTrace::counter(int process, std::string_view name, SimTime at, std::int64_t value) {
  const std::string key = std::to_string(process) + ":" + std::string(name);
  const auto [place, added] = counters_.try_emplace(key, (1ULL << 62) + counters_.size());
  std::string content;
  if (added) {
    std::string track;
    put(track, field::kUuid, place->second);
    put(track, field::kTrackName, name);
    put(track, field::kParent, process_uuid(process));
    put(track, field::kCounter, std::string_view());
    put(content, field::kTrackDescriptor, track);
    packet(content);
    content.clear();
  }
  std::string event;
  put(event, field::kType, kCounterType);
  put(event, field::kTrack, place->second);
  put(event, field::kCounterValue, static_cast<std::uint64_t>(value));
  put(content, field::kTimestamp, static_cast<std::uint64_t>(trace_ns(at)));
  put(content, field::kTrackEvent, event);
  packet(content);
}

void PerfettoTrace::finish() {
  file_.write(buffer_);
  buffer_.clear();
  file_.commit();
}

}  // namespace lastbit::sim::report
