// A Python callable held against a contract.
#include "check/validation.h"

#include <fmt/format.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "check/validation_report.h"
#include "check/validation_words.h"
#include "python/bindings/bind.h"

namespace lastbit::python {
namespace {

namespace nb = nanobind;
using check::KernelRun;
using check::RunStatus;
using tensor::NamedTensors;

// "ValueError: text", on one line.
std::string describe(const nb::python_error& error) {
  std::string text =
      fmt::format("{}: {}", nb::str(error.type().attr("__name__")).c_str(), nb::str(error.value()).c_str());
  std::replace_if(
      text.begin(), text.end(), [](unsigned char symbol) { return symbol < ' ' || symbol == 0x7F; }, ' ');
  return text;
}

// What the callable did to arrays that it may only read.
void find_writes(const NamedTensors& given, const NamedTensors& after, KernelRun& run) {
  for (const auto& [name, tensor] : given)
    if (tensor.nbytes() > 0 && std::memcmp(tensor.bytes().data(), after.at(name).bytes().data(), tensor.nbytes()) != 0)
      run.violations.push_back(fmt::format("input {} was written, a kernel reads it", name));
}

// One call of the callable; false where there are no results, and the run says why.
bool call_once(const nb::callable& candidate, const check::KernelCall& call, KernelRun& run) {
  NamedTensors inputs;
  for (const auto& [name, tensor] : call.inputs) inputs.emplace(name, tensor.clone());
  const auto begin = std::chrono::steady_clock::now();
  std::optional<NamedTensors> results;
  try {
    results = nb::cast<NamedTensors>(candidate(inputs));
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;  // KeyboardInterrupt ends the validation
    run.status = error.matches(PyExc_NotImplementedError) ? RunStatus::kUnsupported : RunStatus::kFailed;
    run.message = describe(error);
    return false;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  run.seconds = run.results.empty() ? seconds.count() : std::min(run.seconds, seconds.count());
  if (run.violations.empty()) find_writes(call.inputs, inputs, run);
  for (auto& [name, tensor] : *results) tensor = tensor.clone();  // the next call may write into the same memory
  run.results.push_back(std::move(*results));
  return true;
}

// Twice on the same inputs: results that differ are a finding.
KernelRun call_candidate(const nb::callable& candidate, const check::KernelCall& call) {
  const nb::gil_scoped_acquire locked;
  KernelRun run;
  run.fill = {0, 0};  // its outputs are its own: nothing is known of what they held before
  for (int i = 0; i < 2; ++i)
    if (!call_once(candidate, call, run)) break;
  return run;
}

check::Validation check_callable(const std::string& contract, const nb::callable& candidate, const std::string& name,
                                 const check::OpSettings& settings, const std::vector<std::string>& shapes,
                                 const std::vector<std::string>& families, std::uint64_t seed,
                                 const std::string& tolerance, bool diagnose) {
  check::ValidationRequest request = check::read_request({contract, settings, shapes, families});
  request.seed = seed;
  request.diagnose = diagnose;
  if (!tolerance.empty()) request.tolerance = check::read_tolerance(tolerance);
  const check::Implementation implementation{
      name, "a Python callable", [](const check::Contract&) { return true; },
      [&candidate](const check::KernelCall& call) { return call_candidate(candidate, call); }};
  return without_gil([&] {
    return check::validate(request, implementation, [](std::int64_t, std::int64_t) {
      const nb::gil_scoped_acquire locked;
      if (PyErr_CheckSignals() != 0) throw nb::python_error();  // Ctrl-C between cases
    });
  });
}

// The arrays of a contract and the settings that hold for it: what a call is made of.
nb::dict describe_contract(const std::string& name, const check::OpSettings& given) {
  const check::Contract& contract = check::find_contract(name);
  const check::ContractSettings settings = check::contract_settings(contract, given);
  nb::list inputs;
  for (const check::ContractArray& input : contract.inputs) inputs.append(input.name);
  nb::list outputs;
  for (const check::ContractOutput& output : contract.outputs) outputs.append(output.array.name);
  nb::dict values;
  for (const check::OpSetting& setting : contract.settings) {
    const nb::str key(setting.key.c_str());
    switch (setting.kind) {
      case check::OpSettingKind::kWhole:
        values[key] = settings.whole(setting.key);
        break;
      case check::OpSettingKind::kNumber:
        values[key] = settings.number(setting.key);
        break;
      case check::OpSettingKind::kFlag:
        values[key] = settings.flag(setting.key);
        break;
      case check::OpSettingKind::kChoice:
      case check::OpSettingKind::kText:
        values[key] = settings.text(setting.key);
        break;
    }
  }
  nb::dict result;
  result["inputs"] = inputs;
  result["outputs"] = outputs;
  result["settings"] = values;
  return result;
}

std::vector<std::string> contract_names() {
  std::vector<std::string> names;
  for (const check::Contract& contract : check::contract_registry()) names.push_back(contract.name);
  return names;
}

}  // namespace

void bind_validation(nb::module_& module) {
  nb::class_<check::Validation>(module, "Validation")
      .def_prop_ro("passed", &check::Validation::passed)
      .def_prop_ro("causes", [](const check::Validation& self) { return self.causes; })
      .def("text", &check::validation_text)
      .def("json",
           [](const check::Validation& self) {
             return check::validation_json(self).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
           })
      .def("junit", &check::validation_junit)
      .def("html", &check::validation_html);
  module.def("check", &check_callable, nb::arg("contract"), nb::arg("candidate"), nb::arg("name"), nb::arg("settings"),
             nb::arg("shapes"), nb::arg("families"), nb::arg("seed"), nb::arg("tolerance"), nb::arg("diagnose"));
  module.def("describe_contract", &describe_contract, nb::arg("name"), nb::arg("settings"));
  module.def("contract_names", &contract_names);
}

}  // namespace lastbit::python
