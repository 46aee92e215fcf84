// lastbit eval tasks, needle, experts, pass-at-k.
#include <fmt/format.h>

#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/eval_model.h"
#include "core/error.h"
#include "core/log.h"
#include "corpus/json_lines.h"
#include "eval/answers.h"
#include "eval/expert_probe.h"
#include "eval/tasks.h"
#include "io/atomic_file.h"
#include "io/file_bytes.h"

namespace lastbit::cli {
namespace {

struct TaskCommand {
  EvalModel model;
  std::string path;
  std::string style = "cloze";
  eval::TaskOptions tasks;
  std::string out;
};

int run_eval_tasks(TaskCommand options) {
  const LoadedModel loaded = load_for_eval(options.model);
  options.tasks.style = options.style == "letter" ? eval::ChoiceStyle::kLetter : eval::ChoiceStyle::kCloze;
  const eval::TaskReport report = eval::run_tasks(loaded.model, loaded.tokenizer, options.path, options.tasks);
  if (!options.out.empty()) {
    std::string lines;
    for (const nlohmann::json& line : report.lines)
      lines += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    io::write_text_file(options.out, lines);
  }
  nlohmann::json summary = report.summary();
  summary["schema"] = 1;
  summary["checkpoint"] = loaded.checkpoint;
  std::cout << summary.dump() << '\n';
  return core::kExitOk;
}

void add_eval_tasks_command(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand(
      "tasks", "Multiple choice by likelihood, and written answers by exact match and F1, from JSON lines");
  const auto options = std::make_shared<TaskCommand>();
  add_eval_model(*command, options->model);
  command
      ->add_option("TASKS", options->path,
                   R"(Lines {"question", "options", "answer": index} or {"question", "answers": [...]})")
      ->required();
  command->add_option("--choices", options->style, "cloze (loss a byte of each option) or letter")
      ->check(CLI::IsMember({"cloze", "letter"}))
      ->capture_default_str();
  command->add_option("--max-tokens", options->tasks.max_tokens, "Of a written answer")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--out", options->out, "Every task's outcome as JSON lines");
  command->callback([&action, options] { action = [options] { return run_eval_tasks(*options); }; });
}

struct NeedleCommand {
  EvalModel model;
  std::string hay;
  std::vector<std::int64_t> lengths{128, 256, 512};
  std::vector<double> depths{0, 0.25, 0.5, 0.75, 1};
  std::int64_t trials = 4;
  std::uint64_t seed = 1;
};

int run_eval_needle(const NeedleCommand& options) {
  const LoadedModel loaded = load_for_eval(options.model);
  const auto hay = io::FileBytes::open(options.hay);
  const std::vector<eval::Needle> needles =
      eval::find_needles(loaded.model, loaded.tokenizer, std::string(hay->text()), options.lengths, options.depths,
                         options.trials, options.seed);
  std::cout << fmt::format("found of {} trials, nats a token of the number\n{:>8}", options.trials, "tokens");
  for (const double depth : options.depths) std::cout << fmt::format("{:>16}", fmt::format("depth {:.2f}", depth));
  std::cout << '\n';
  auto needle = needles.begin();
  for (const std::int64_t length : options.lengths) {
    std::cout << fmt::format("{:>8}", length);
    for (std::size_t i = 0; i < options.depths.size(); ++i) {
      std::int64_t found = 0;
      double nll = 0;
      for (std::int64_t trial = 0; trial < options.trials; ++trial, ++needle) {
        found += static_cast<std::int64_t>(needle->found);
        nll += needle->nll / static_cast<double>(options.trials);
      }
      std::cout << fmt::format("{:>16}", fmt::format("{} ({:.2f})", found, nll));
    }
    std::cout << '\n';
  }
  return core::kExitOk;
}

void add_eval_needle(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("needle", "A number in a haystack: found or not, by length and depth");
  const auto options = std::make_shared<NeedleCommand>();
  add_eval_model(*command, options->model);
  command->add_option("HAY", options->hay, "A file of plain text")->required();
  command->add_option("--lengths", options->lengths, "Tokens of a sequence")->delimiter(',')->capture_default_str();
  command->add_option("--depths", options->depths, "Where the needle lies, 0 to 1")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--trials", options->trials, "Needles a place")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000}))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the needles")->capture_default_str();
  command->callback([&action, options] { action = [options] { return run_eval_needle(*options); }; });
}

struct ExpertCommand {
  EvalModel model;
  std::string path;
  std::string field = "language";
  std::vector<std::int64_t> without{1, 2, 4};
  std::int64_t sequence_tokens = 256;
  std::int64_t rows = 16;
  std::string html;
};

// Up to `rows` rows of each domain's documents.
std::map<std::string, tensor::Tensor> rows_by_domain(const ExpertCommand& options, const text::Tokenizer& tokenizer) {
  std::map<std::string, std::vector<std::int64_t>> ids;
  const auto most = static_cast<std::size_t>(options.rows * options.sequence_tokens);
  corpus::LineBlocks blocks(options.path);
  for (auto lines = blocks.next(1 << 20); !lines.empty(); lines = blocks.next(1 << 20))
    for (const corpus::LineBlocks::Line& line : lines) {
      const std::vector<std::string> fields = corpus::parse_json_strings(
          line.text, {"text", options.field}, fmt::format("{}:{}", options.path, line.number));
      std::vector<std::int64_t>& domain = ids[fields[1].empty() ? "(none)" : fields[1]];
      if (domain.size() >= most) continue;
      for (const text::TokenId id : tokenizer.encode(fields[0])) domain.push_back(id);
    }
  std::map<std::string, tensor::Tensor> result;
  for (auto& [name, all] : ids) {
    const std::int64_t rows = std::min(std::ssize(all) / options.sequence_tokens, options.rows);
    if (rows == 0) continue;
    all.resize(static_cast<std::size_t>(rows * options.sequence_tokens));
    result[name] = tensor::Tensor::from<std::int64_t>({rows, options.sequence_tokens}, all);
  }
  if (result.empty()) core::fail_input("{}: no domain with a row of {} tokens", options.path, options.sequence_tokens);
  return result;
}

int run_eval_experts(const ExpertCommand& options) {
  LoadedModel loaded = load_for_eval(options.model);
  constexpr std::int64_t kBatch = 4;
  const auto domains = rows_by_domain(options, loaded.tokenizer);
  const std::vector<std::int64_t> bytes(static_cast<std::size_t>(loaded.model.config().vocab_size), 1);
  std::cout << fmt::format("{:<20}{:>10}{:>10}", "nats a token", "whole", "no shared");
  for (const std::int64_t count : options.without) std::cout << fmt::format("{:>10}", fmt::format("top {} off", count));
  std::cout << '\n';
  for (const auto& [domain, ids] : domains) {
    std::cout << fmt::format("{:<20}{:>10.4f}", domain, eval::score_rows(loaded.model, ids, bytes, kBatch).loss());
    std::cout << fmt::format("{:>10.4f}", eval::score_without_shared_experts(loaded.model, ids, bytes, kBatch).loss());
    for (const std::int64_t count : options.without)
      std::cout << fmt::format("{:>10.4f}",
                               eval::score_without_top_experts(loaded.model, ids, bytes, count, kBatch).loss());
    std::cout << '\n';
  }
  if (options.html.empty()) return core::kExitOk;
  io::write_text_file(options.html, eval::domain_load_page(eval::domain_loads(loaded.model, domains, kBatch),
                                                           "Expert load by domain: " + loaded.checkpoint));
  core::log_info("wrote {}", options.html);
  return core::kExitOk;
}

void add_eval_experts(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand(
      "experts", "Loss by domain without the most loaded or the shared experts, and a heat map of domains by experts");
  const auto options = std::make_shared<ExpertCommand>();
  add_eval_model(*command, options->model);
  command->add_option("DOCUMENTS", options->path, "JSON lines with a text and a domain")->required();
  command->add_option("--domain-field", options->field, "The field that names a document's domain")
      ->capture_default_str();
  command->add_option("--without", options->without, "How many of each layer's most loaded experts are off")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--sequence-tokens", options->sequence_tokens, "Tokens a row")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--rows", options->rows, "Rows of each domain, at most")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--html", options->html, "Write the heat maps here");
  command->callback([&action, options] { action = [options] { return run_eval_experts(*options); }; });
}

void add_eval_pass_at_k(CLI::App& parent, Action& action) {
  struct PassCommand {
    std::int64_t samples = 0;
    std::int64_t passed = 0;
    std::int64_t k = 1;
  };
  CLI::App* command = parent.add_subcommand("pass-at-k", "The unbiased estimate of pass@k from samples");
  const auto options = std::make_shared<PassCommand>();
  command->add_option("--samples", options->samples, "n")->required();
  command->add_option("--passed", options->passed, "c: of the n")->required();
  command->add_option("--k", options->k, "k")->capture_default_str();
  command->callback([&action, options] {
    action = [options] {
      std::cout << fmt::format("{}\n", eval::pass_at_k(options->samples, options->passed, options->k));
      return core::kExitOk;
    };
  });
}

}  // namespace

void add_eval_tasks(CLI::App& eval, Action& action) {
  add_eval_tasks_command(eval, action);
  add_eval_needle(eval, action);
  add_eval_experts(eval, action);
  add_eval_pass_at_k(eval, action);
}

}  // namespace lastbit::cli
