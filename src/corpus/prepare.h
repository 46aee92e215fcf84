// Data preparation from configuration to token shards.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "corpus/prepare_config.h"

namespace lastbit::corpus {

// Reads, cleans, filters, removes duplicates, tokenises, shuffles, packs and writes `config.output`:
//   index.json     what is there: shards with checksums, statistics, the effective config
//   shard-*.h5     windows of tokens (see write_shards)
//   dropped.jsonl  every document that was left out, with its place, the reason, and what it repeats
//   work/          segments of an unfinished run; gone at the end
// Returns index.json. A run that was interrupted goes on where its last segment ended; one that is finished is returned
// as it is. The same files, byte for byte, whatever the number of threads, the memory and the interruptions.
// progress(stage, done, in all): stages "documents" (bytes) and "shards" (documents).
// Errors (bad input): an output folder that belongs to another config; what is wrong with config, tokenizer or
// documents. Nothing but work/ is written before everything has been read.
nlohmann::json prepare_data(
    const PrepareConfig& config,
    const std::function<void(const std::string& stage, std::uint64_t done, std::uint64_t all)>& progress = {});

}  // namespace lastbit::corpus
