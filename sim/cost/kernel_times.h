// A user's own kernel timings: a CSV file that stands before every table and roofline.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/cost/calibration.h"
#include "sim/workload/operator.h"

namespace lastbit::sim::cost {

// Columns, named by the first line: kernel, n, k, groups, rows, us. kernel: "dense", "dense_wgrad", "grouped" or
// "grouped_wgrad" with the GEMM's n, k and groups (rows of all groups together), or the name of an operator as
// `lastbit sim train --dump workload` prints it, with n, k and groups 0: rows are its tokens, queries or rows. Several
// lines of one kernel make a curve over rows; times hold for the SMs that compute in the job. Empty lines and lines
// that begin with # are skipped.
// Errors (bad input, with the line's number): a missing or unknown column, a number that is none, times that are not
// positive, a number of rows given twice.
[[nodiscard]] std::vector<KernelTimes> load_kernel_times(const std::string& path);
[[nodiscard]] std::vector<KernelTimes> parse_kernel_times(const std::string& text, const std::string& name);

// The operator's time by these: in proportion to rows from the nearest ends, straight in log-log between them. Nothing
// if they do not have it.
[[nodiscard]] std::optional<double> given_time(const std::vector<KernelTimes>& given, const workload::Operator& op);

}  // namespace lastbit::sim::cost
