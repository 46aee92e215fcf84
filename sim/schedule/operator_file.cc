#include "sim/schedule/operator_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/json.h"

namespace lastbit::sim::schedule {
namespace {

constexpr double kLongestOperator = 1e100;
constexpr std::int64_t kMostLayers = 10000;

std::array<double, workload::kNumSegments> read_compute(const io::ConfigReader& reader) {
  std::array<double, workload::kNumSegments> times{};
  for (std::size_t s = 0; s < times.size(); ++s)
    times[s] = reader.require_in(workload::segment_name(static_cast<workload::Segment>(s)), 0.0, kLongestOperator);
  reader.finish();
  return times;
}

Unit read_layer(const io::ConfigReader& reader) {
  Unit unit;
  unit.alone.layer = true;
  unit.alone.segments = read_compute(reader.require_object("compute"));
  if (const auto communication = reader.optional_object("communication")) {
    unit.alone.communicates = true;
    for (std::size_t t = 0; t < workload::kNumTransfers; ++t) {
      unit.alone.transfers[t] = communication->require_in(
          workload::transfer_name(static_cast<workload::TransferKind>(t)), 0.0, kLongestOperator);
    }
    communication->finish();
  }
  unit.beside = unit.alone;
  if (const auto beside = reader.optional_object("compute_beside")) unit.beside.segments = read_compute(*beside);
  return unit;
}

std::vector<std::int64_t> read_layers(const io::ConfigReader& reader, int stages) {
  std::vector<std::int64_t> layers;
  if (reader.raw("layers").is_array()) {
    layers = reader.require<std::vector<std::int64_t>>("layers");
    if (layers.size() != static_cast<std::size_t>(stages))
      reader.fail("layers", fmt::format("a number of layers, or one for each of {} stages", stages));
  } else {
    layers.assign(static_cast<std::size_t>(stages), reader.require<std::int64_t>("layers"));
  }
  for (const std::int64_t count : layers)
    if (count < 0 || count > kMostLayers) reader.fail("layers", fmt::format("0 to {} layers a stage", kMostLayers));
  return layers;
}

void add_end(const io::ConfigReader& end, std::vector<Units>& stages) {
  const auto stage = static_cast<std::size_t>(end.require_in("stage", 0, static_cast<std::int64_t>(stages.size()) - 1));
  Unit unit;
  unit.alone.forward = end.require_in("forward", 0.0, kLongestOperator);
  unit.alone.backward = end.require_in("backward", 0.0, kLongestOperator);
  unit.alone.weight = end.require_in("weight", 0.0, kLongestOperator);
  unit.beside = unit.alone;
  const bool first = end.require_one_of("where", {"first", "last"}) == "first";
  end.finish();
  stages[stage].insert(first ? stages[stage].begin() : stages[stage].end(), unit);
}

std::vector<Units> read_operators(const nlohmann::json& document, const std::string& file, int stages) {
  const io::ConfigReader reader(document, file);
  const Unit layer = read_layer(reader);
  std::vector<Units> all;
  for (const std::int64_t count : read_layers(reader, stages)) all.emplace_back(static_cast<std::size_t>(count), layer);
  if (reader.has("ends"))
    for (const io::ConfigReader& end : reader.require_objects("ends")) add_end(end, all);
  reader.finish();
  return all;
}

}  // namespace

std::vector<Units> parse_operators(std::string_view text, const std::string& name, bool toml, int stages) {
  return read_operators(toml ? io::parse_toml(text, name) : io::parse_json(text, name), name, stages);
}

std::vector<Units> load_operators(const std::string& path, int stages) {
  return read_operators(io::load_config_file(path), path, stages);
}

}  // namespace lastbit::sim::schedule
