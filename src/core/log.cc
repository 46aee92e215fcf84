#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace lastbit::core {
namespace {

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("lastbit", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("lastbit: %v");
    return made;
  }();
  return *instance;
}

}  // namespace

void log_info_line(const std::string& line) { logger().info("{}", line); }
void log_warning_line(const std::string& line) { logger().warn("warning: {}", line); }
void set_log_quiet(bool quiet) { logger().set_level(quiet ? spdlog::level::warn : spdlog::level::info); }

}  // namespace lastbit::core
