// The log: stderr only, so that stdout carries nothing but results.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace lastbit::core {

void log_info_line(const std::string& line);
void log_warning_line(const std::string& line);

template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_info_line(fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_warning_line(fmt::format(format, std::forward<Args>(args)...));
}

// Warnings only, no information.
void set_log_quiet(bool quiet);

}  // namespace lastbit::core
