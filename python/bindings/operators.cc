// Every operator of `lastbit op`.
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "check/op_registry.h"
#include "python/bindings/bind.h"

namespace lastbit::python {
namespace {

namespace nb = nanobind;

tensor::NamedTensors run_op(const std::string& name, const tensor::NamedTensors& inputs,
                            const check::OpSettings& settings) {
  return without_gil([&] { return check::run_op(check::find_op(name), inputs, settings); });
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const check::OpEntry& op : check::op_registry()) names.push_back(op.name);
  return names;
}

}  // namespace

void bind_operators(nb::module_& module) {
  module.def("op", &run_op, nb::arg("name"), nb::arg("inputs"), nb::arg("settings"));
  module.def("op_names", &op_names);
}

}  // namespace lastbit::python
