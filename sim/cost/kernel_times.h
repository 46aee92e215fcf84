// A user's own kernel timings: a CSV file that stands before every table and roofline.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/cost/calibration.h"
#include "sim/cost/provenance.h"
#include "sim/workload/operator.h"

namespace lastbit::sim::cost {

// Columns, named by the first line: kernel, n, k, groups, rows, us. kernel: "dense", "dense_wgrad", "grouped" or
// "grouped_wgrad" with the GEMM's n, k and groups (rows of all groups together), or the name of an operator as
// `lastbit sim train --dump workload` prints it: rows are its tokens, queries or rows; n, k and groups are 0, or the
// GEMM's own; n is the keys of an attention core, the width of a memory-bound operator. Several lines of one kernel
// make a curve over rows; times hold for the SMs that compute in the job. An operator takes the first kernel that
// describes it. Empty lines and lines that begin with # are skipped. Errors (bad input, with the line's number): a
// missing or unknown column, a number that is none, times that are not positive, a number of rows given twice.
[[nodiscard]] std::vector<KernelTimes> load_kernel_times(const std::string& path);
[[nodiscard]] std::vector<KernelTimes> parse_kernel_times(const std::string& text, const std::string& name);

// Errors (bad input, with the line's number): a kernel that none of the operators takes, a name that stands for
// operators of several shapes while n, k and groups do not tell them apart.
void check_kernel_times(const std::vector<KernelTimes>& given, const std::vector<workload::Operator>& operators);

// The operator's time by these: straight in log-log between rows (interpolated), in proportion to rows from the nearest
// end beyond them (extrapolated). Nothing if they do not have it.
[[nodiscard]] std::optional<Timed> given_time(const std::vector<KernelTimes>& given, const workload::Operator& op);

}  // namespace lastbit::sim::cost
