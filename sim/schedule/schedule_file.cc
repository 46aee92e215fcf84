#include "sim/schedule/schedule_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/json.h"

namespace lastbit::sim::schedule {
namespace {

constexpr std::size_t kMostRanks = 1 << 16;
constexpr std::size_t kLongestName = 100;

// Whole numbers from 0, all of them.
std::vector<int> read_numbers(const nlohmann::json& values, const io::ConfigReader& reader, const std::string& key) {
  constexpr const char* kExpected = "arrays of stage or path numbers from 0";
  if (!values.is_array() || values.empty() || values.size() > kMostRanks) reader.fail(key, kExpected);
  std::vector<int> numbers;
  for (const nlohmann::json& value : values) {
    if (!value.is_number_integer() || value < 0 || value > std::numeric_limits<std::int16_t>::max())
      reader.fail(key, kExpected);
    numbers.push_back(value.get<int>());
  }
  return numbers;
}

void read_placement(const io::ConfigReader& reader, Schedule& schedule) {
  const std::size_t ranks = schedule.order.size();
  std::vector<std::vector<int>> stages;
  if (reader.has("stages")) {
    const nlohmann::json& lists = reader.raw("stages");
    if (!lists.is_array() || lists.size() != ranks)
      reader.fail("stages", fmt::format("an array of stage numbers for each of {} ranks", ranks));
    for (const nlohmann::json& list : lists) stages.push_back(read_numbers(list, reader, "stages"));
  } else {
    for (std::size_t rank = 0; rank < ranks; ++rank) stages.push_back({static_cast<int>(rank)});
  }
  std::size_t slots = 0;
  for (const std::vector<int>& held : stages) slots = std::max(slots, held.size());
  std::vector<int> paths(slots, 0);
  if (reader.has("paths")) paths = read_numbers(reader.raw("paths"), reader, "paths");
  if (paths.size() != slots) reader.fail("paths", fmt::format("a path for each of {} slots", slots));
  for (const std::vector<int>& held : stages) {
    std::vector<Placement>& placed = schedule.placement.emplace_back();
    for (std::size_t slot = 0; slot < held.size(); ++slot) {
      placed.push_back({held[slot], paths[slot]});
      schedule.stages = std::max(schedule.stages, held[slot] + 1);
    }
  }
  schedule.slots = static_cast<int>(slots);
  schedule.paths = 1 + *std::max_element(paths.begin(), paths.end());
}

std::vector<Op> read_list(std::string_view text, const io::ConfigReader& reader, std::size_t rank, LabelStyle style) {
  constexpr std::string_view kSpaces = " \t\r\n";
  std::vector<Op> list;
  for (std::size_t at = text.find_first_not_of(kSpaces); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(kSpaces, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    const std::optional<Op> op = parse_label(word, style);
    if (!op) {
      core::fail_input("{}: key 'order', rank {}: found {}, expected a verb such as {}", reader.file(), rank,
                       io::describe_json(std::string(word)),
                       style == LabelStyle::kChunk
                           ? "F3.0, BW3.0 (full backward), B3.0 (input gradient), W3.0 or F3.0&BW1.0"
                           : "F0.3, B0.3 (full backward), Bi0.3, W0.3 or F0.3&B1.1");
    }
    list.push_back(*op);
    at = text.find_first_not_of(kSpaces, end);
  }
  return list;
}

// Each rank's verbs in one string, whichever way they are written.
std::vector<std::string> read_orders(const io::ConfigReader& reader) {
  const std::string expected = fmt::format("the verbs of 1 to {} ranks, each a string or an array of them", kMostRanks);
  const nlohmann::json& lists = reader.raw("order");
  if (!lists.is_array() || lists.empty() || lists.size() > kMostRanks) reader.fail("order", expected);
  std::vector<std::string> all;
  for (const nlohmann::json& list : lists) {
    if (list.is_string()) {
      all.push_back(list.get<std::string>());
      continue;
    }
    if (!list.is_array()) reader.fail("order", expected);
    std::string& words = all.emplace_back();
    for (const nlohmann::json& word : list) {
      if (!word.is_string()) reader.fail("order", expected);
      words += word.get<std::string>() + " ";
    }
  }
  return all;
}

// Cheap refusals first, so that a few bytes cannot ask for a lot of memory.
void check_sizes(const Schedule& schedule, const std::string& file) {
  if (schedule.micro_batches % schedule.paths != 0)
    core::fail_input("{}: {} micro-batches do not divide among {} paths", file, schedule.micro_batches, schedule.paths);
  const auto per_path = static_cast<std::size_t>(schedule.micro_batches / schedule.paths);
  std::size_t held = 0;
  for (std::size_t rank = 0; rank < schedule.order.size(); ++rank) {
    held += schedule.placement[rank].size();
    if (schedule.order[rank].size() < per_path * schedule.placement[rank].size())
      core::fail_input("{}: key 'order', rank {}: {} verbs cannot run {} micro-batches through {} stages", file, rank,
                       schedule.order[rank].size(), per_path, schedule.placement[rank].size());
  }
  if (held != static_cast<std::size_t>(schedule.paths) * static_cast<std::size_t>(schedule.stages))
    core::fail_input("{}: ranks hold {} stages in all, expected {}: {} of each of {} paths", file, held,
                     schedule.paths * schedule.stages, schedule.stages, schedule.paths);
}

Schedule read_schedule(const nlohmann::json& document, const std::string& file) {
  const io::ConfigReader reader(document, file);
  Schedule schedule;
  schedule.kind = reader.get_or<std::string>("name", "own");
  const bool printable =
      std::all_of(schedule.kind.begin(), schedule.kind.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
  if (schedule.kind.empty() || schedule.kind.size() > kLongestName || !printable)
    reader.fail("name", fmt::format("up to {} printable characters", kLongestName));
  schedule.micro_batches = static_cast<int>(reader.require_in("micro_batches", 1, std::int64_t{INT32_MAX}));
  if (reader.has("labels") && reader.require_one_of("labels", {"chunk", "direction"}) == "direction")
    schedule.labels = LabelStyle::kDirection;
  const std::vector<std::string> lists = read_orders(reader);
  schedule.ranks = static_cast<int>(lists.size());
  for (std::size_t rank = 0; rank < lists.size(); ++rank)
    schedule.order.push_back(read_list(lists[rank], reader, rank, schedule.labels));
  read_placement(reader, schedule);
  reader.finish();
  check_sizes(schedule, file);
  validate(schedule);
  return schedule;
}

// Whether rank r holds stage r and nothing else.
bool is_plain(const Schedule& schedule) {
  for (std::size_t rank = 0; rank < schedule.placement.size(); ++rank)
    if (schedule.placement[rank].size() != 1 || schedule.placement[rank][0].stage != static_cast<int>(rank))
      return false;
  return true;
}

std::string placement_text(const Schedule& schedule) {
  std::string text = "stages = [";
  std::vector<int> paths(static_cast<std::size_t>(schedule.slots), 0);
  for (std::size_t rank = 0; rank < schedule.placement.size(); ++rank) {
    std::vector<int> held;
    for (std::size_t slot = 0; slot < schedule.placement[rank].size(); ++slot) {
      held.push_back(schedule.placement[rank][slot].stage);
      paths[slot] = schedule.placement[rank][slot].path;
    }
    text += fmt::format("{}[{}]", rank == 0 ? "" : ", ", fmt::join(held, ", "));
  }
  text += "]\n";
  if (schedule.paths > 1) text += fmt::format("paths = [{}]\n", fmt::join(paths, ", "));
  return text;
}

}  // namespace

Schedule parse_schedule(std::string_view text, const std::string& name, bool toml) {
  return read_schedule(toml ? io::parse_toml(text, name) : io::parse_json(text, name), name);
}

Schedule load_schedule(const std::string& path) { return read_schedule(io::load_config_file(path), path); }

std::string schedule_text(const Schedule& schedule) {
  const bool chunked = schedule.labels == LabelStyle::kChunk;
  std::string text =
      fmt::format("name = {}\nmicro_batches = {}\n", nlohmann::json(schedule.kind).dump(), schedule.micro_batches);
  text += chunked
              ? "labels = \"chunk\"  # F<micro-batch>.<slot>, BW full backward, B its input gradient, W its weights'\n"
              : "labels = \"direction\"  # F<slot>.<micro-batch>, B full backward, Bi its input gradient, W its "
                "weights', F&B overlapped\n";
  if (!is_plain(schedule)) text += placement_text(schedule);
  text += "order = [\n";
  for (const std::vector<Op>& list : schedule.order) {
    text += "  \"";
    for (std::size_t i = 0; i < list.size(); ++i) text += (i == 0 ? "" : " ") + label(list[i], schedule.labels);
    text += "\",\n";
  }
  return text + "]\n";
}

}  // namespace lastbit::sim::schedule
