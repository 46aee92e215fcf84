// Bytes of text a second of the tokenizer, beside memcpy of the same text in the same run: loading, encoding, decoding,
// and the splits alone, fast and by regular expressions. LASTBIT_TOKENIZER (tokenizer.json) and LASTBIT_TEXT (UTF-8)
// choose what is measured, by default the embedded ones; LASTBIT_THREADS (default 1) is the number of threads.
// bench/peers/tokenizer.py runs this beside other tokenizers.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "corpus/tokenize_files.h"
#include "io/data_dir.h"
#include "io/file_bytes.h"
#include "text/tokenizer_file.h"

namespace lastbit::text {
namespace {

std::string setting(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

std::string tokenizer_path() {
  const char* chosen = std::getenv("LASTBIT_TOKENIZER");
  return chosen != nullptr ? chosen : io::data_path("tokenizer/lastbit-8k.json");
}

std::string text_path() {
  const char* chosen = std::getenv("LASTBIT_TEXT");
  return chosen != nullptr ? chosen : io::data_path("corpus/documents.jsonl");
}

const std::string& corpus() {
  static const std::string text(io::FileBytes::open(text_path())->text());
  return text;
}

// Documents of 16 KiB or a little more: they end where a code point does.
std::vector<std::string_view> documents() {
  std::vector<std::string_view> cut;
  const std::string_view text = corpus();
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.size(), at + 16384);
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80) ++end;
    cut.push_back(text.substr(at, end - at));
    at = end;
  }
  return cut;
}

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = corpus::load_tokenizer(tokenizer_path());
  return loaded;
}

void count_bytes(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(corpus().size()));
}

void copy(benchmark::State& state) {
  std::string to(corpus().size(), '\0');
  for (auto _ : state) {
    std::memcpy(to.data(), corpus().data(), to.size());
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  count_bytes(state);
}

void load(benchmark::State& state) {
  for (auto _ : state) {
    const Tokenizer loaded = corpus::load_tokenizer(tokenizer_path());
    benchmark::DoNotOptimize(loaded.id_limit());
  }
}

void encode(benchmark::State& state) {
  core::set_num_threads(std::stoi(setting("LASTBIT_THREADS", "1")));
  const std::vector<std::string_view> texts = documents();
  std::size_t tokens = 0;
  for (auto _ : state) {
    tokens = 0;
    for (const std::vector<TokenId>& ids : tokenizer().encode_batch(texts)) tokens += ids.size();
  }
  state.counters["tokens"] = static_cast<double>(tokens);
  count_bytes(state);
}

void decode(benchmark::State& state) {
  const std::vector<TokenId> ids = tokenizer().encode(corpus());
  for (auto _ : state) {
    const std::string text = tokenizer().decode(ids);
    benchmark::DoNotOptimize(text.data());
  }
  count_bytes(state);
}

void split(benchmark::State& state) {
  const PreTokenizer pre_tokenizer = PreTokenizer::deepseek_v3();
  std::vector<TextSpan> pieces;
  for (auto _ : state) {
    for (std::size_t at = 0; at < corpus().size();) {
      pieces.clear();
      at = pre_tokenizer.split(corpus(), at, pieces);
    }
    benchmark::DoNotOptimize(pieces.data());
  }
  count_bytes(state);
}

void split_by_expressions(benchmark::State& state) {
  const PreTokenizer pre_tokenizer = PreTokenizer::deepseek_v3();
  for (auto _ : state) benchmark::DoNotOptimize(pre_tokenizer.split_plainly(corpus()).data());
  count_bytes(state);
}

BENCHMARK(copy)->Unit(benchmark::kMillisecond);
BENCHMARK(load)->Unit(benchmark::kMillisecond);
BENCHMARK(encode)->Unit(benchmark::kMillisecond);
BENCHMARK(decode)->Unit(benchmark::kMillisecond);
BENCHMARK(split)->Unit(benchmark::kMillisecond);
BENCHMARK(split_by_expressions)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lastbit::text
