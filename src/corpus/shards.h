// Token shards: windows of tokens in HDF5 files, with an index of checksums.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "corpus/prepare_config.h"
#include "corpus/segments.h"
#include "tensor/tensor.h"

namespace lastbit::corpus {

struct ShardEntry {
  std::string file;  // in the folder of the index
  std::int64_t windows = 0;
  std::int64_t bytes = 0;
  std::uint32_t crc32 = 0;  // of the file's bytes
};

struct ShardTotals {
  std::int64_t windows = 0;
  std::int64_t tokens = 0;  // in windows, padding left out
  std::int64_t padding_tokens = 0;
  std::int64_t dropped_tokens = 0;  // by "concat", at the end of a shard
  std::int64_t cut_documents = 0;
};

// Documents in a shuffled order (seeded) fill shards of about shard_tokens; each is packed by itself and its windows
// are shuffled. Writes `folder`/shard-00000.h5 and so on, each with tokens [windows, window] u32, segments
// [windows, window] i32 (which piece of the window, -1 for padding) and pieces [pieces, 4] i64 (window, document,
// offset, length). progress(documents done, in all). An interrupted run makes all of them again.
[[nodiscard]] std::vector<ShardEntry> write_shards(
    const PrepareConfig& config, const std::vector<Segment>& segments, text::TokenId padding, const std::string& folder,
    ShardTotals& totals, const std::function<void(std::uint64_t done, std::uint64_t all)>& progress = {});

// What an index.json says; for readers.
struct ShardIndex {
  std::string folder;
  std::int64_t window_tokens = 0;
  std::int64_t id_limit = 0;  // every token is below
  std::vector<ShardEntry> shards;
};
// Errors (bad input): a folder without an index, or an index of another format.
[[nodiscard]] ShardIndex load_shard_index(const std::string& folder);

struct Shard {
  tensor::Tensor tokens;    // [windows, window_tokens] u32
  tensor::Tensor segments;  // [windows, window_tokens] i32
};
// Errors (bad input): a file that is missing, truncated or changed, with its name and both checksums; arrays of another
// shape than the index says; tokens that the index rules out.
[[nodiscard]] Shard load_shard(const ShardIndex& index, std::size_t shard);

}  // namespace lastbit::corpus
