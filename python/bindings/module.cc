// The module `lastbit._core`: what the thin package `lastbit` (python/lastbit) stands on.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <exception>
#include <string>

#include "core/error.h"
#include "core/log.h"
#include "core/parallel.h"
#include "core/version.h"
#include "io/data_dir.h"
#include "python/bindings/bind.h"

namespace lastbit::python {
namespace {

namespace nb = nanobind;

// Errors keep their one line of text.
void translate(const std::exception_ptr& exception, void* /*unused*/) {
  try {
    std::rethrow_exception(exception);
  } catch (const core::Error& error) {
    switch (error.kind()) {
      case core::ErrorKind::kInput:
        PyErr_SetString(PyExc_ValueError, error.what());
        return;
      case core::ErrorKind::kIo:
        PyErr_SetString(PyExc_OSError, error.what());
        return;
      case core::ErrorKind::kUnsupported:
        PyErr_SetString(PyExc_NotImplementedError, error.what());
        return;
      case core::ErrorKind::kInternal:
        break;
    }
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

void set_num_threads(int threads) {
  constexpr int kMostThreads = 4096;
  if (threads < 0 || threads > kMostThreads)
    core::fail_input("threads: found {}, expected 0 (all cores) to {}", threads, kMostThreads);
  core::set_num_threads(threads);
}

}  // namespace
}  // namespace lastbit::python

NB_MODULE(_core, module) {
  using namespace lastbit::python;
  nanobind::register_exception_translator(translate);
  lastbit::core::set_log_quiet(true);
  module.def("version", [] { return std::string(lastbit::core::version()); });
  module.def("set_data_dir", &lastbit::io::set_data_dir, nanobind::arg("folder"));
  module.def("set_num_threads", &set_num_threads, nanobind::arg("threads"));
  bind_arrays(module);
  bind_products(module);
  bind_operators(module);
  bind_validation(module);
  bind_model(module);
}
