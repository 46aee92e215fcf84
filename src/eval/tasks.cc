#include "eval/tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/philox.h"
#include "corpus/json_lines.h"
#include "eval/answers.h"
#include "eval/text_score.h"
#include "infer/generate.h"
#include "infer/sampling.h"
#include "io/config_reader.h"

namespace lastbit::eval {
namespace {

using nlohmann::json;
using tensor::Tensor;

std::vector<std::int64_t> ids_of(const text::Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::int64_t> ids;
  for (const text::TokenId id : tokenizer.encode(text)) ids.push_back(id);
  return ids;
}

Tensor as_row(const std::vector<std::int64_t>& ids) { return Tensor::from<std::int64_t>({1, std::ssize(ids)}, ids); }

void require_room(const model::Transformer& model, std::int64_t tokens, const std::string& name) {
  if (tokens > model.config().max_position_embeddings)
    core::fail_input("{}: {} tokens, expected at most the model's {} positions", name, tokens,
                     model.config().max_position_embeddings);
}

// -ln P(text | before), summed.
double nll_after(const model::Transformer& model, const text::Tokenizer& tokenizer, std::vector<std::int64_t> before,
                 const std::string& text, const std::string& name) {
  const std::size_t start = before.size();
  const std::vector<std::int64_t> added = ids_of(tokenizer, text);
  if (added.empty()) core::fail_input("{}: an empty option, expected text", name);
  before.insert(before.end(), added.begin(), added.end());
  require_room(model, std::ssize(before), name);
  const Tensor nll = next_token_nll(model, as_row(before));
  const auto values = nll.values<double>().subspan(start - 1);
  return std::accumulate(values.begin(), values.end(), 0.0);
}

std::string letter(std::size_t i) { return {static_cast<char>('A' + i)}; }

std::size_t choose(const model::Transformer& model, const text::Tokenizer& tokenizer, const std::string& question,
                   const std::vector<std::string>& options, ChoiceStyle style, const std::string& name) {
  std::string before = question;
  if (style == ChoiceStyle::kLetter) {
    for (std::size_t i = 0; i < options.size(); ++i) before += fmt::format("\n{}. {}", letter(i), options[i]);
    before += "\nAnswer:";
  }
  const std::vector<std::int64_t> ids = ids_of(tokenizer, before);
  if (ids.empty()) core::fail_input("{}: an empty question, expected text", name);
  std::vector<double> scores;
  for (std::size_t i = 0; i < options.size(); ++i) {
    const std::string after = " " + (style == ChoiceStyle::kLetter ? letter(i) : options[i]);
    scores.push_back(nll_after(model, tokenizer, ids, after, name) / static_cast<double>(after.size()));
  }
  return static_cast<std::size_t>(std::ranges::min_element(scores) - scores.begin());
}

std::string write_answer(const model::Transformer& model, const text::Tokenizer& tokenizer, const std::string& question,
                         std::int64_t max_tokens) {
  infer::GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling.temperature = 0;
  std::vector<text::TokenId> ids;
  for (const std::int64_t id : infer::generate(model, ids_of(tokenizer, question), options))
    ids.push_back(static_cast<text::TokenId>(id));
  const std::string text = tokenizer.decode(ids, true);
  return text.substr(0, text.find('\n'));
}

void run_task(const model::Transformer& model, const text::Tokenizer& tokenizer, const json& line,
              const std::string& name, const TaskOptions& options, TaskReport& report) {
  const io::ConfigReader reader(line, name);
  const auto question = reader.require<std::string>("question");
  ++report.tasks;
  if (reader.has("options")) {
    const auto texts = reader.require<std::vector<std::string>>("options");
    constexpr std::int64_t kMostOptions = 26;
    if (texts.size() < 2 || std::ssize(texts) > kMostOptions) reader.fail("options", "2 to 26 texts");
    const std::int64_t answer = reader.require_in("answer", std::int64_t{0}, std::ssize(texts) - 1);
    reader.finish();
    const std::size_t chosen = choose(model, tokenizer, question, texts, options.style, name);
    ++report.choices;
    report.right += static_cast<std::int64_t>(static_cast<std::int64_t>(chosen) == answer);
    report.lines.push_back({{"question", question}, {"chosen", chosen}, {"answer", answer}});
    return;
  }
  const auto answers = reader.require<std::vector<std::string>>("answers");
  reader.finish();
  if (answers.empty()) reader.fail("answers", "at least one text");
  const std::string written = write_answer(model, tokenizer, question, options.max_tokens);
  const bool exact = exact_match(written, answers);
  const double f1 = f1_score(written, answers);
  ++report.answers;
  report.exact += static_cast<std::int64_t>(exact);
  report.f1 += (f1 - report.f1) / static_cast<double>(report.answers);
  report.lines.push_back({{"question", question}, {"written", written}, {"exact", exact}, {"f1", f1}});
}

}  // namespace

json TaskReport::summary() const {
  json object{{"tasks", tasks}};
  if (choices > 0)
    object["choices"] = {{"tasks", choices}, {"accuracy", static_cast<double>(right) / static_cast<double>(choices)}};
  if (answers > 0)
    object["answers"] = {
        {"tasks", answers}, {"exact_match", static_cast<double>(exact) / static_cast<double>(answers)}, {"f1", f1}};
  return object;
}

TaskReport run_tasks(const model::Transformer& model, const text::Tokenizer& tokenizer, const std::string& path,
                     const TaskOptions& options) {
  TaskReport report;
  corpus::LineBlocks blocks(path);
  constexpr std::size_t kBlockBytes = std::size_t{1} << 20U;
  for (auto lines = blocks.next(kBlockBytes); !lines.empty(); lines = blocks.next(kBlockBytes))
    for (const corpus::LineBlocks::Line& line : lines) {
      const std::string name = fmt::format("{}:{}", path, line.number);
      run_task(model, tokenizer, corpus::parse_json_object(line.text, name), name, options, report);
    }
  if (report.tasks == 0) core::fail_input("{}: no tasks, expected a JSON object a line", path);
  return report;
}

std::vector<Needle> find_needles(const model::Transformer& model, const text::Tokenizer& tokenizer,
                                 const std::string& hay, const std::vector<std::int64_t>& lengths,
                                 const std::vector<double>& depths, std::int64_t trials, std::uint64_t seed) {
  const std::vector<std::int64_t> all = ids_of(tokenizer, hay);
  const core::RandomStream random(seed, "needles");
  std::vector<Needle> needles;
  std::uint64_t drawn = 0;
  for (const std::int64_t length : lengths)
    for (const double depth : depths)
      for (std::int64_t trial = 0; trial < trials; ++trial) {
        const std::string name = fmt::format("K{}", random.word(drawn++) % 90 + 10);
        const std::string key = fmt::format(" {}", random.word(drawn++) % 900 + 100);
        const std::vector<std::int64_t> needle = ids_of(tokenizer, fmt::format("\nThe key of {} is{}.\n", name, key));
        const std::vector<std::int64_t> ask = ids_of(tokenizer, fmt::format("\nThe key of {} is", name));
        const std::vector<std::int64_t> answer = ids_of(tokenizer, key);
        const std::int64_t room = length - std::ssize(needle) - std::ssize(ask) - std::ssize(answer);
        require_room(model, length, "needle");
        if (room < 1) core::fail_input("needle: {} tokens, expected room for the needle itself", length);
        if (std::ssize(all) < room) core::fail_input("needle: hay of {} tokens, expected {}", all.size(), room);
        const auto before = static_cast<std::ptrdiff_t>(depth * static_cast<double>(room));
        std::vector<std::int64_t> ids(all.begin(), all.begin() + before);
        ids.insert(ids.end(), needle.begin(), needle.end());
        ids.insert(ids.end(), all.begin() + before, all.begin() + room);
        ids.insert(ids.end(), ask.begin(), ask.end());
        const std::size_t start = ids.size();
        ids.insert(ids.end(), answer.begin(), answer.end());
        const Tensor logits = model.forward(as_row(ids), {}).at("logits");
        const auto width = static_cast<std::size_t>(logits.dim(-1));
        Needle result{depth, length, true, 0};
        for (std::size_t i = 0; i < answer.size(); ++i)
          result.found = result.found &&
                         infer::greedy(logits.values<float>().subspan((start - 1 + i) * width, width)) == answer[i];
        const Tensor nll = next_token_nll(model, as_row(ids));
        const auto values = nll.values<double>().subspan(start - 1);
        result.nll = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
        needles.push_back(result);
      }
  return needles;
}

}  // namespace lastbit::eval
