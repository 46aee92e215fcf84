// Tokens on disk, read a run at a time: u32, little-endian, nothing else in the file.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "text/bpe_model.h"

namespace lastbit::corpus {

class TokenFile {
 public:
  // Errors (bad input): no such file, or not `tokens` tokens long.
  TokenFile(std::string path, std::int64_t tokens);

  // Fills `tokens` with those from `begin` on. Thread-safe. Not a mapping: a map of many scattered documents would hold
  // the whole file. Nor is it kept open: there may be more files than a process can open. Errors (I/O): what the system
  // refuses, a file that has become shorter.
  void read(std::int64_t begin, std::span<text::TokenId> tokens) const;

 private:
  std::string path_;
};

}  // namespace lastbit::corpus
