// lastbit check gpu-records: results of real GPUs through the tensor-core models.
#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "check/gpu_records.h"
#include "cli/command.h"
#include "core/error.h"
#include "io/data_dir.h"

namespace lastbit::cli {
namespace {

constexpr const char* kTables[] = {"measurements/gpu_records.json", "measurements/h200_records.json"};

struct GpuRecordsOptions {
  std::string file;
  bool json = false;
};

struct Replayed {
  const check::RecordSet& set;
  check::Replay replay;
};

std::string fraction_bits(const check::Replay& replay) {
  const bool exact = replay.row.accumulation == numerics::Accumulation::kExact;
  return exact ? "exact" : fmt::format("{}", replay.row.fraction_bits);
}

void print_row(const std::string& row) { std::cout << row.substr(0, row.find_last_not_of(' ') + 1) << '\n'; }

std::string types(const check::RecordSet& set) {
  std::string text(numerics::name(set.type));
  if (set.b_type != set.type) text += fmt::format(" x {}", numerics::name(set.b_type));
  if (set.d_type != numerics::Format::kF32) text += fmt::format(" -> {}", numerics::name(set.d_type));
  return text;
}

void print_records_table(const std::vector<check::RecordFile>& files, const std::vector<Replayed>& all,
                         bool all_match) {
  constexpr const char* kRow = "{:<6}{:<13}{:<19}{:>6}{:>5}{:>9}{:>9}  {}";
  print_row(fmt::format(kRow, "GPU", "type", "unit", "F", "K", "records", "matched", ""));
  std::int64_t records = 0;
  std::int64_t matched = 0;
  for (const auto& [set, replay] : all) {
    std::string note = set.c_is_zero ? "C taken as 0" : "";
    if (replay.first_mismatch)
      note = fmt::format("record {}: published {:08x}, computed {:08x}", replay.first_mismatch->record,
                         replay.first_mismatch->published, replay.first_mismatch->computed);
    print_row(fmt::format(kRow, set.gpu, types(set), set.unit, fraction_bits(replay), set.k, replay.records,
                          replay.matched, note));
    records += replay.records;
    matched += replay.matched;
  }
  std::cout << fmt::format("\n{} of {} records {} bit for bit.\n", matched, records, all_match ? "match" : "matched");
  for (const check::RecordFile& file : files) {
    for (const std::string& remark : file.remarks) std::cout << "  " << remark << ".\n";
    std::cout << "  Source: " << file.source << ".\n";
  }
}

void print_records_json(const std::vector<check::RecordFile>& files, const std::vector<Replayed>& all, bool all_match) {
  nlohmann::json sources = nlohmann::json::array();
  nlohmann::json remarks = nlohmann::json::array();
  for (const check::RecordFile& file : files) {
    sources.push_back(file.source);
    for (const std::string& remark : file.remarks) remarks.push_back(remark);
  }
  nlohmann::json sets = nlohmann::json::array();
  for (const auto& [set, replay] : all) {
    nlohmann::json entry{{"gpu", set.gpu},
                         {"type", numerics::name(set.type)},
                         {"b_type", numerics::name(set.b_type)},
                         {"d_type", numerics::name(set.d_type)},
                         {"unit", set.unit},
                         {"k", set.k},
                         {"step_k", replay.row.step_k},
                         {"exact_sum", replay.row.accumulation == numerics::Accumulation::kExact},
                         {"fraction_bits", replay.row.fraction_bits},
                         {"c_taken_as_zero", set.c_is_zero},
                         {"records", replay.records},
                         {"matched", replay.matched}};
    if (replay.first_mismatch)
      entry["first_mismatch"] = {{"record", replay.first_mismatch->record},
                                 {"published", replay.first_mismatch->published},
                                 {"computed", replay.first_mismatch->computed}};
    sets.push_back(entry);
  }
  const nlohmann::json report{
      {"schema", 2}, {"match", all_match}, {"sources", sources}, {"remarks", remarks}, {"sets", sets}};
  std::cout << report.dump(2) << '\n';
}

int run_gpu_records(const GpuRecordsOptions& options) {
  std::vector<check::RecordFile> files;
  if (!options.file.empty())
    files.push_back(check::load_gpu_records(options.file));
  else
    for (const char* table : kTables) files.push_back(check::load_gpu_records(io::data_path(table)));
  std::vector<Replayed> all;
  bool all_match = true;
  for (const check::RecordFile& file : files)
    for (const check::RecordSet& set : file.sets) {
      all.push_back({set, check::replay(set)});
      all_match = all_match && !all.back().replay.first_mismatch;
    }
  (options.json ? print_records_json : print_records_table)(files, all, all_match);
  return all_match ? core::kExitOk : core::kExitCheckFailed;
}

}  // namespace

void add_check_gpu_records(CLI::App& check, Action& action) {
  CLI::App* command = check.add_subcommand("gpu-records", "Replay results of real GPUs through the tensor-core models");
  const auto options = std::make_shared<GpuRecordsOptions>();
  command->add_option("--file", options->file, "Table of records (default: those that come with Lastbit)");
  command->add_flag("--json", options->json, "Print the report as JSON");
  command->callback([options, &action] { action = [options] { return run_gpu_records(*options); }; });
}

}  // namespace lastbit::cli
