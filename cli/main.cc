// The program `lastbit`: parses, runs one subcommand, turns every error into one line and an exit code.
#include <algorithm>
#include <exception>
#include <iostream>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "core/heap.h"
#include "core/parallel.h"
#include "core/version.h"

namespace lastbit::cli {
namespace {

void add_commands(CLI::App& app, Action& action) {
  add_cast(app, action);
  add_mma(app, action);
  add_gemm(app, action);
  add_quantize(app, action);
  add_dequantize(app, action);
  add_op(app, action);
  add_golden(app, action);
  add_check(app, action);
  add_run(app, action);
  add_init(app, action);
  add_convert(app, action);
  add_inspect(app, action);
  add_sim(app, action);
  add_units(app, action);
  add_probe(app, action);
  add_study(app, action);
  add_tokenizer(app, action);
  add_data(app, action);
  add_train(app, action);
  add_eval(app, action);
  add_generate(app, action);
  add_presets(app, action);
  add_doctor(app, action);
}

int report(const std::string& message, core::ErrorKind kind) {
  std::string line = message;  // names of files and keys may hold anything, a line break too
  std::replace_if(
      line.begin(), line.end(), [](unsigned char symbol) { return symbol < ' ' || symbol == 0x7F; }, '?');
  std::cerr << "lastbit: error: " << line << '\n';
  return core::exit_code(kind);
}

constexpr int kMostThreads = 4096;

int run(int argc, char** argv) {
  CLI::App app{"Bit-accurate DeepSeek-V3 reference, and forecast of the clusters that train and serve it"};
  app.name("lastbit");
  app.set_version_flag("--version", std::string("lastbit ") + core::version());
  int threads = 0;
  app.add_option("--threads", threads, "Threads to use, before the subcommand (default 0: all cores)")
      ->check(CLI::Range(0, kMostThreads));
  app.require_subcommand(1);
  Action action;
  add_commands(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return report(describe_parse_error(app, error), core::ErrorKind::kInput);
  }
  core::set_num_threads(threads);
  const int code = action();
  std::cout.flush();
  if (!std::cout) core::fail_io("stdout: cannot write the result");
  return code;
}

}  // namespace
}  // namespace lastbit::cli

int main(int argc, char** argv) {
  using lastbit::cli::report;
  using lastbit::core::ErrorKind;
  lastbit::core::keep_freed_memory();
  try {
    return lastbit::cli::run(argc, argv);
  } catch (const lastbit::core::Error& error) {
    return report(error.what(), error.kind());
  } catch (const std::bad_alloc&) {
    return report("out of memory", ErrorKind::kIo);
  } catch (const std::exception& error) {
    return report(std::string("internal: ") + error.what(), ErrorKind::kInternal);
  }
}
