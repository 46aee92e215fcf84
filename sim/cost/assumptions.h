// What no source fixes: named values with the reason for each, printed with every prediction.
#pragma once

#include <string>
#include <vector>

#include "io/config_reader.h"

namespace lastbit::sim::cost {

struct Assumption {
  std::string name;
  double value = 0;
  std::string unit;
  std::string source;
};

class Assumptions {
 public:
  // Reads the table "assumptions" of a job: every known name once, as { value, unit, source }. Error(kInput): a missing
  // or unknown name, a value out of its range.
  static Assumptions read(const io::ConfigReader& reader);

  // The value of a known name.
  [[nodiscard]] double operator[](const char* name) const;
  [[nodiscard]] const std::vector<Assumption>& entries() const { return entries_; }
  void set(const std::string& name, double value);

 private:
  std::vector<Assumption> entries_;  // in the order of the code's own list
};

}  // namespace lastbit::sim::cost
