// The parts of the module `lastbit._core`, each in the file of its name; module.cc calls them.
#pragma once

#include <nanobind/nanobind.h>

#include <utility>

namespace lastbit::python {

void bind_arrays(nanobind::module_& module);
void bind_products(nanobind::module_& module);
void bind_operators(nanobind::module_& module);
void bind_validation(nanobind::module_& module);
void bind_model(nanobind::module_& module);

// Runs `work` without the interpreter's lock, so that other Python threads go on.
template <typename Work>
auto without_gil(const Work& work) {
  const nanobind::gil_scoped_release released;
  return work();
}

}  // namespace lastbit::python
