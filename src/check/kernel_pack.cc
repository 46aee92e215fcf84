#include "check/kernel_pack.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/version.h"
#include "io/arrays.h"
#include "io/config_reader.h"
#include "io/json.h"

namespace lastbit::check {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

constexpr const char* kManifest = "manifest";

Tensor manifest_of(const ValidationRequest& request) {
  nlohmann::json cases = nlohmann::json::array();
  for (const CaseId& id : cases_of(request)) cases.push_back({{"family", id.family}, {"sizes", id.sizes}});
  const std::string text = nlohmann::json{
      {"schema", 1},
      {"generator", fmt::format("lastbit {}", core::version())},
      {"contract", request.contract->name},
      {"settings", request.settings.values()},
      {"seed", request.seed},
      {"cases", cases}}.dump();
  Tensor bytes = Tensor::empty(tensor::DType::kU8, {std::ssize(text)});
  std::ranges::copy(text, reinterpret_cast<char*>(bytes.mutable_bytes().data()));
  return bytes;
}

NamedTensors draw_case(const ValidationRequest& request, const CaseId& id) {
  return request.contract->draw({id.family, id.sizes, request.seed, request.settings});
}

// Codes in files may have come as unsigned integers.
bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.nbytes() == b.nbytes() && std::ranges::equal(a.bytes(), b.contiguous().bytes());
}

// What the manifest among `arrays` asks for.
ValidationRequest read_manifest(const NamedTensors& arrays, const std::string& path) {
  const auto found = arrays.find(kManifest);
  if (found == arrays.end())
    core::fail_input("{}: has no array '{}', expected a pack of lastbit check kernel", path, kManifest);
  const Tensor bytes = found->second.contiguous();
  const std::string text(reinterpret_cast<const char*>(bytes.bytes().data()), bytes.nbytes());
  const std::string name = path + ":" + kManifest;
  const io::ConfigReader reader(io::parse_json(text, name), name);
  (void)reader.require_in("schema", std::int64_t{1}, std::int64_t{1});
  reader.ignore("generator");
  ValidationRequest request;
  request.contract = &find_contract(reader.require<std::string>("contract"));
  OpSettings settings;
  const io::ConfigReader given = reader.require_object("settings");
  for (const std::string& key : given.keys()) settings[key] = given.require<std::string>(key);
  request.settings = contract_settings(*request.contract, settings);
  request.seed = static_cast<std::uint64_t>(reader.require<std::int64_t>("seed"));
  for (const io::ConfigReader& entry : reader.require_objects("cases")) {
    const CaseId id{entry.require<std::string>("family"), entry.require<std::vector<std::int64_t>>("sizes")};
    if (std::ranges::find(request.families, id.family) == request.families.end()) request.families.push_back(id.family);
    if (std::ranges::find(request.shapes, id.sizes) == request.shapes.end()) request.shapes.push_back(id.sizes);
  }
  reader.finish();
  return request;
}

}  // namespace

PackSummary write_kernel_pack(const ValidationRequest& request, const std::string& path, bool with_expected) {
  if (!io::is_container(path))
    core::fail_input("{}: expected a name that ends in .npz, .safetensors, .h5 or .hdf5", path);
  PackSummary summary;
  NamedTensors arrays;
  for (const CaseId& id : cases_of(request)) {
    const NamedTensors inputs = draw_case(request, id);
    if (with_expected)
      for (const auto& [name, expected] : request.contract->expect(inputs, request.settings))
        arrays.emplace(fmt::format("{}/expected.{}", id.name(), name), expected.value);
    for (const auto& [name, tensor] : inputs) arrays.emplace(fmt::format("{}/{}", id.name(), name), tensor);
    ++summary.cases;
  }
  summary.arrays = arrays.size();
  for (const auto& [name, tensor] : arrays) summary.bytes += tensor.nbytes();
  arrays.emplace(kManifest, manifest_of(request));
  io::save_arrays(path, arrays);
  return summary;
}

ValidationRequest read_kernel_pack(const std::string& path) { return read_kernel_pack(io::load_arrays(path), path); }

ValidationRequest read_kernel_pack(const NamedTensors& arrays, const std::string& path) {
  ValidationRequest request = read_manifest(arrays, path);
  const auto key_of = [](const CaseId& id, const std::string& input) { return fmt::format("{}/{}", id.name(), input); };
  for (const CaseId& id : cases_of(request))
    for (const ContractArray& input : request.contract->inputs) {
      const bool scale = input.name.starts_with("scale_");  // not there where the settings ask for none
      if (!scale && !arrays.contains(key_of(id, input.name)))
        core::fail_input("{}: has no array '{}', which its manifest promises", path, key_of(id, input.name));
    }
  for (const CaseId& id : cases_of(request))
    for (const auto& [input_name, tensor] : draw_case(request, id)) {
      const auto given_input = arrays.find(key_of(id, input_name));
      if (given_input == arrays.end())
        core::fail_input("{}: has no array '{}', which its manifest promises", path, key_of(id, input_name));
      if (!same_bytes(tensor, given_input->second))
        core::fail_input(
            "{}: array '{}' is not what seed {} draws: the pack was changed, or written by another version", path,
            key_of(id, input_name), request.seed);
    }
  return request;
}

Implementation file_implementation(const std::string& path, const ValidationRequest& request) {
  const auto arrays = std::make_shared<const NamedTensors>(io::load_arrays(path));
  bool any = false;
  std::string example;
  for (const CaseId& id : cases_of(request))
    for (const ContractOutput& output : request.contract->outputs) {
      example = fmt::format("{}/{}", id.name(), output.array.name);
      any = any || arrays->contains(example);
    }
  if (!any) core::fail_input("{}: has no output of the cases asked for, such as '{}'", path, example);
  return {path, "outputs in a file", [](const Contract&) { return true; },
          [arrays](const KernelCall& call) {
            KernelRun run;
            NamedTensors results;
            for (const OutputSpec& output : call.outputs) {
              const auto found = arrays->find(fmt::format("{}/{}", call.case_name, output.name));
              if (found != arrays->end()) results.emplace(output.name, found->second);
            }
            if (results.empty()) {
              run.status = RunStatus::kFailed;
              run.message = fmt::format("the file has no output of {}", call.case_name);
              return run;
            }
            run.results.push_back(std::move(results));
            return run;
          }};
}

}  // namespace lastbit::check
