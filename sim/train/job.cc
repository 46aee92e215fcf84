#include "sim/train/job.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "sim/schedule/build.h"

namespace lastbit::sim::train {
namespace {

using nlohmann::json;

constexpr std::int64_t kMany = 1000000000;
constexpr std::int64_t kMostLayers = 100000;
constexpr std::size_t kMostStages = 8192;

int small(const io::ConfigReader& reader, const char* key, std::int64_t low, std::int64_t high) {
  return static_cast<int>(reader.require_in(key, low, high));
}

// The schedule by the one name that the rest compares with, however it is written.
std::string schedule_kind(const io::ConfigReader& reader) {
  const std::string written = reader.require<std::string>("schedule");
  try {
    return schedule::find_kind(written).name;
  } catch (const core::Error& error) {
    core::fail_input("{}: key '{}': {}", reader.file(), reader.dotted("schedule"), error.what());
  }
}

Layout read_layout(const io::ConfigReader& reader) {
  Layout layout;
  layout.pipeline = small(reader, "pipeline", 1, 4096);
  layout.expert = small(reader, "expert", 1, 65536);
  const auto optional_count = [&reader](const char* key, std::int64_t high) {
    return reader.has(key) ? small(reader, key, 1, high) : 1;
  };
  layout.tensor = optional_count("tensor", 1024);
  layout.context = optional_count("context", 65536);
  layout.chunks = optional_count("chunks", 1024);
  layout.zero_stage = small(reader, "zero_stage", 0, 3);
  if (reader.has("recompute")) {
    const std::string recompute = reader.require_one_of("recompute", {"none", "selective", "full"});
    layout.recompute = recompute == "none"   ? workload::Recompute::kNone
                       : recompute == "full" ? workload::Recompute::kFull
                                             : workload::Recompute::kSelective;
  }
  layout.fused_attention = reader.get_or<bool>("fused_attention", true);
  layout.micro_batch_sequences = small(reader, "micro_batch_sequences", 1, 65536);
  layout.schedule = schedule_kind(reader);
  if (reader.has("stage_layers")) {
    for (const std::int64_t layers : reader.require<std::vector<std::int64_t>>("stage_layers")) {
      if (layers < 0 || layers > kMostLayers) reader.fail("stage_layers", "numbers of layers, 0 to 100000");
      layout.stage_layers.push_back(static_cast<int>(layers));
    }
    if (layout.stage_layers.empty() || layout.stage_layers.size() > kMostStages) {
      reader.fail("stage_layers", "1 to 8192 pipeline stages");
    }
    if (reader.has("chunks")) reader.fail("chunks", "either chunks or stage_layers");
  }
  reader.finish();
  return layout;
}

double element_bytes(const io::ConfigReader& reader, const char* key) {
  const std::string format = reader.require_one_of(key, {"fp8", "bf16", "fp32"});
  if (format == "fp8") return 1 + 4.0 / 128;  // one FP32 scale for 128 channels
  return format == "bf16" ? 2 : 4;
}

Precision read_precision(const io::ConfigReader& reader) {
  Precision precision;
  precision.gemm =
      reader.require_one_of("gemm", {"fp8", "bf16"}) == "fp8" ? workload::Format::kFp8 : workload::Format::kBf16;
  (void)reader.require_one_of("head", {"bf16"});
  precision.dispatch_bytes = element_bytes(reader, "dispatch");
  precision.combine_bytes = element_bytes(reader, "combine");
  precision.gradient_bytes = element_bytes(reader, "gradient_reduction");
  precision.parameter_bytes = element_bytes(reader, "parameter_gather");
  const auto stored = [&reader](const char* key, double otherwise) {
    return reader.has(key) ? (reader.require_one_of(key, {"bf16", "fp32"}) == "bf16" ? 2.0 : 4.0) : otherwise;
  };
  precision.gradient_storage_bytes = stored("gradients", 4);
  precision.moments_storage_bytes = 2 * stored("moments", 2);
  precision.communication_sms = small(reader, "communication_sms", 0, 1000);
  reader.finish();
  return precision;
}

Phase read_phase(const io::ConfigReader& reader, int context_parallel) {
  Phase phase;
  phase.context_parallel = context_parallel;
  phase.name = reader.require_one_of("name", {"pretraining", "context_extension", "post_training"});
  if (reader.has("gpu_hours")) {
    phase.given_gpu_hours = reader.require_in("gpu_hours", 0.0, 1e12);
    reader.finish();
    return phase;
  }
  phase.sequence_tokens = small(reader, "sequence_tokens", 1, kMany);
  phase.batch_sequences = small(reader, "batch_sequences", 1, kMany);
  if (reader.has("steps") == reader.has("tokens")) reader.fail("tokens", "either tokens or steps");
  phase.tokens = reader.has("steps") ? static_cast<double>(reader.require_in("steps", std::int64_t{1}, kMany)) *
                                           phase.sequence_tokens * phase.batch_sequences
                                     : reader.require_in("tokens", 1.0, 1e18);
  if (reader.has("context_parallel")) phase.context_parallel = small(reader, "context_parallel", 1, 65536);
  phase.assumed = reader.get_or<std::string>("assumed", "");
  if (reader.has("schedule")) phase.schedule = schedule_kind(reader);
  reader.finish();
  return phase;
}

// stage_layers given over a job that has a number of chunks takes that number's place, unless chunks come with it.
bool sets_stages(const json& layout) {
  return layout.is_object() && layout.contains("stage_layers") && !layout.contains("chunks");
}

bool sets_stages(const std::vector<cluster::Override>& overrides) {
  json set = json::object();
  for (const cluster::Override& change : overrides) {
    if (change.subject == "job" && change.path.size() > 1 && change.path[0] == "layout") set[change.path[1]] = true;
  }
  return sets_stages(set);
}

void drop_chunks(json& job) {
  if (job.contains("layout") && job["layout"].is_object()) job["layout"].erase("chunks");
}

// The file's object upon its base's, if it has one. One level: a base has no base.
json with_base(json object, const std::string& path) {
  if (!object.contains("base")) return object;
  if (!object["base"].is_string()) core::fail_input("{}: key 'base': expected the name of a job", path);
  const std::string base_path = cluster::description_path("jobs", object["base"].get<std::string>(), "job");
  json base = io::load_config_file(base_path);
  if (base.contains("base")) core::fail_input("{}: key 'base': '{}' has a base itself", path, base_path);
  object.erase("base");
  if (sets_stages(object.value("layout", json::object()))) drop_chunks(base);
  base.merge_patch(object);
  return base;
}

}  // namespace

Job load_job(const std::string& name_or_path, const std::vector<cluster::Override>& overrides) {
  const std::string path = cluster::description_path("jobs", name_or_path, "job");
  json object = with_base(io::load_config_file(path), path);
  if (sets_stages(overrides)) drop_chunks(object);
  cluster::apply_overrides(object, overrides, "job");
  // "assume.NAME=VALUE" is short for the value of an assumption.
  std::vector<cluster::Override> assumed;
  for (const cluster::Override& change : overrides) {
    if (change.subject != "assume") continue;
    if (change.path.size() != 1) core::fail_input("--set assume: expected assume.NAME=VALUE");
    assumed.push_back({"assume", {"assumptions", change.path.front(), "value"}, change.value});
    // The file's reason is one for the file's value.
    assumed.push_back({"assume", {"assumptions", change.path.front(), "source"}, "set by --set assume"});
  }
  cluster::apply_overrides(object, assumed, "assume");
  const std::string name = cluster::name_with_overrides(path, overrides, "job");
  const io::ConfigReader reader(object, cluster::name_with_overrides(name, overrides, "assume"));
  Job job;
  job.name = reader.require<std::string>("name");
  job.usd_per_gpu_hour = reader.require_in("usd_per_gpu_hour", 0.0, 1e6);
  job.measured_kernels = reader.get_or<bool>("measured_kernels", true);
  job.layout = read_layout(reader.require_object("layout"));
  job.precision = read_precision(reader.require_object("precision"));
  for (const io::ConfigReader& phase : reader.require_objects("phase"))
    job.phases.push_back(read_phase(phase, job.layout.context));
  job.assumptions = cost::Assumptions::read(reader.require_object("assumptions"));
  for (const cluster::Override& change : assumed) job.assumptions.choose(change.path[1]);
  reader.ignore("source");
  reader.finish();
  bool predicted = false;
  for (const Phase& phase : job.phases) predicted = predicted || !phase.given_gpu_hours.has_value();
  if (!predicted) reader.fail("phase", "at least one phase to predict");
  return job;
}

}  // namespace lastbit::sim::train
