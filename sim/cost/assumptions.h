// What no source fixes: named values with the reason for each, printed with every prediction.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/config_reader.h"

namespace lastbit::sim::cost {

// Between which values the truth is believed to lie.
struct Range {
  double low = 0;
  double high = 0;
};

struct Assumption {
  std::string name;
  double value = 0;
  std::string unit;
  std::string source;
  std::optional<Range> range;  // none: taken as known
  bool chosen = false;         // by the user, with --set: a calibration leaves it alone
};

class Assumptions {
 public:
  // Reads the table "assumptions" of a job: known names, each as { value, unit, source } and, optional, range =
  // [low, high] around the value. Names that a file may leave out have a value, a unit and a source of their own, of
  // which it may give the value alone. Error(kInput): a missing or unknown name, a value or a range out of what the
  // name allows. A range grows to hold the value.
  static Assumptions read(const io::ConfigReader& reader);

  // The value of a known name.
  [[nodiscard]] double operator[](const char* name) const;
  [[nodiscard]] const std::vector<Assumption>& entries() const { return entries_; }
  void set(const std::string& name, double value);
  // The user's own choice.
  void choose(const std::string& name);
  // A calibration's value and its source, unless the user chose one; a range moves in proportion, within what the name
  // allows.
  void calibrate(const std::string& name, double value, const std::string& source);

 private:
  std::vector<Assumption> entries_;  // in the order of the code's own list
};

}  // namespace lastbit::sim::cost
